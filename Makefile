# Everything runs from this folder with relative paths, so that its name may contain spaces.
PYTHON ?= python3
SET_UP := "$(PYTHON)" dev/bootstrap.py
# Each target sets up what it needs and no more: the layers are lists of packages that build on each other, dev/requirements-*.txt.
DEMO := $(SET_UP) --layer demo run
EVIDENCE := $(SET_UP) --layer evidence run
TEST := $(SET_UP) --layer test run
# Two processes, which share out the files in their order: the longest come first.
TWO_AT_ONCE := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo test bench soak evidence train train-report train-latent train-styles train-judge train-judges pictures clean

help:
	@echo "make demo          a batch from the small model in a real ComfyUI: images, maps, a sheet sorted by score, scores.csv"
	@echo "make test          all checks and tests"
	@echo "make bench         measure estimators, gradients and overhead, about an hour on two cores; ARGS=--table prints the last tables"
	@echo "make soak          every fault, and a thousand runs in one server, half an hour on two cores"
	@echo "make evidence      every number of docs/evidence.md, some hours on two cores; resumes after a stop; ARGS=filtering runs one part"
	@echo "make setup         install everything that the other commands install when they need it"
	@echo "make train         train the small model; ARGS='--steps 13000' passes options"
	@echo "make train-report  draw the small model's sample sheet and training curve"
	@echo "make train-latent  train the benchmarks' latent model from the small model, and draw its sample sheet"
	@echo "make train-styles  train the evidence's model of many styles from the small model"
	@echo "make train-judge   train the classifier that judges the small model's images in the evidence"
	@echo "make train-judges  train the two judges of the model of many styles; goes on from their weights; ARGS='patches --steps 1000'"
	@echo "make pictures      take the pictures in README and help pages from the example workflows as they run"
	@echo "make clean         remove everything that these commands made or downloaded"
	@echo "COMFYUI_PATH=/path/to/ComfyUI uses your own ComfyUI, PYTHON=python3.12 another Python."

setup:
	@$(SET_UP)

demo:
	@$(DEMO) -m dev.demo

test:
	@$(TEST) -m dev.chromium
	@$(TEST) -m ruff check .
	@$(TEST) -m ruff format --check .
	@$(TEST) -m bandit -q -c pyproject.toml -r uncertainty uncertainty_runs nodes paper_models demo __init__.py
	@$(TEST) -m dev.typecheck_python
	@$(TEST) -m dev.typecheck
	@$(TEST) -m pytest $(TWO_AT_ONCE)

bench:
	@$(EVIDENCE) -m dev.launcher -m benchmarks.estimator $(ARGS)
	@$(EVIDENCE) -m dev.launcher -m benchmarks.gradients $(ARGS)
	@$(EVIDENCE) -m dev.launcher -m benchmarks.overhead $(ARGS)
	@$(EVIDENCE) -m benchmarks.sparsification $(ARGS)
	@$(EVIDENCE) -m dev.launcher -m benchmarks.scale $(ARGS)
	@$(EVIDENCE) -m benchmarks.batches $(ARGS)
	@$(EVIDENCE) -m benchmarks.batch_files $(ARGS)
	@$(EVIDENCE) -m benchmarks.batch_rows $(ARGS)

soak:
	@$(TEST) -m pytest --long -rP tests/comfy/test_faults.py tests/server/test_server_faults.py tests/server/test_ledger_routes.py tests/unit/test_killed.py tests/unit/test_culling.py
	@$(TEST) -m dev.fuzz --seconds 120
	@$(TEST) -m benchmarks.soak $(ARGS)

evidence:
	@$(EVIDENCE) -m dev.evidence $(ARGS)

train:
	@$(EVIDENCE) -m dev.launcher -m demo.train $(ARGS)

train-report:
	@$(EVIDENCE) -m dev.launcher -m demo.report

train-latent:
	@$(EVIDENCE) -m dev.launcher -m benchmarks.train_latent $(ARGS)
	@$(EVIDENCE) -m dev.launcher -m benchmarks.latent_report

train-styles:
	@$(EVIDENCE) -m dev.launcher -m testbed.train $(ARGS)
	@$(EVIDENCE) -m dev.launcher -m testbed.samples

train-judge:
	@$(EVIDENCE) -m demo.train_classifier $(ARGS)

train-judges:
	@$(EVIDENCE) -m testbed.train_judges $(ARGS)

pictures:
	@$(TEST) -m dev.chromium
	@$(TEST) -m dev.pictures

clean:
	rm -rf .venv .venv-* .runtime demo_output
