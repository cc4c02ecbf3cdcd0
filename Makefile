# Everything runs from this folder with relative paths, so that its name may hold spaces.
PYTHON ?= python3
RUN := "$(PYTHON)" dev/bootstrap.py run

.PHONY: help setup demo test bench soak evidence train train-report train-latent train-judge pictures clean

help:
	@echo "make demo    a batch from the small model in a real ComfyUI: images, overlays, a sheet sorted by score, scores.csv"
	@echo "make test    all checks and tests"
	@echo "make bench   measure estimators, gradients and overhead again, about an hour on two cores; ARGS=--table prints the last tables"
	@echo "make soak    every fault, and a thousand queue runs in one server, half an hour on two cores"
	@echo "make evidence  every number of docs/evidence.md again, some hours on two cores; goes on after a stop; ARGS=filtering for one"
	@echo "make setup   only the environment and ComfyUI, which the others make for themselves"
	@echo "make train   train the small model again; ARGS='--steps 13000' for its options"
	@echo "make train-report  its sample sheet and training curve"
	@echo "make train-latent  the benchmarks' latent model, out of the small model, and its sample sheet"
	@echo "make train-judge  the small classifier that judges the demo model's images in the evidence"
	@echo "make pictures  the photographs in README and help pages, out of the example workflows as they run"
	@echo "make clean   remove what these made, the downloads too"
	@echo "COMFYUI_PATH=/path/to/ComfyUI uses your own ComfyUI; PYTHON=python3.12 another Python."

setup:
	@"$(PYTHON)" dev/bootstrap.py

demo:
	@$(RUN) -m dev.demo

test:
	@$(RUN) -m dev.chromium
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m bandit -q -c pyproject.toml -r uncertainty uncertainty_runs nodes paper_models demo __init__.py
	@$(RUN) -m mypy -p uncertainty -p uncertainty_runs
	@$(RUN) -m dev.typecheck
	@$(RUN) -m pytest

bench:
	@$(RUN) -m dev.launcher -m benchmarks.estimator $(ARGS)
	@$(RUN) -m dev.launcher -m benchmarks.gradients $(ARGS)
	@$(RUN) -m dev.launcher -m benchmarks.overhead $(ARGS)
	@$(RUN) -m benchmarks.sparsification $(ARGS)
	@$(RUN) -m dev.launcher -m benchmarks.scale $(ARGS)
	@$(RUN) -m benchmarks.batches $(ARGS)

soak:
	@$(RUN) -m pytest --long -rP tests/comfy/test_faults.py tests/server/test_server_faults.py tests/unit/test_killed.py
	@$(RUN) -m dev.fuzz --seconds 120
	@$(RUN) -m benchmarks.soak $(ARGS)

evidence:
	@$(RUN) -m dev.evidence $(ARGS)

train:
	@$(RUN) -m dev.launcher -m demo.train $(ARGS)

train-report:
	@$(RUN) -m dev.launcher -m demo.report

train-latent:
	@$(RUN) -m dev.launcher -m benchmarks.train_latent $(ARGS)
	@$(RUN) -m dev.launcher -m benchmarks.latent_report

train-judge:
	@$(RUN) -m demo.train_classifier $(ARGS)

pictures:
	@$(RUN) -m dev.chromium
	@$(RUN) -m dev.pictures

clean:
	rm -rf .venv .venv-* .runtime demo_output
