"""The Ray cluster that workers run in, and what Ray says when one of them does not start."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..comfyui import HOME

WARNINGS = re.compile(r"^\[[^]]* [WEC] \d+ \d+\]")
LINES = 3


class WorkersError(RuntimeError):
    """Workers cannot be started, or died; the message says why and what to do."""


class Cluster:
    """A running Ray cluster, or one that is started on this machine and ends with this process.

    Workers find this package by the job's search path. A ``runtime_env`` would do that too, but makes Ray start workers through
    a shell command in which the path of Python is not quoted: if it has a space in it, they never start.

    Args:
        address: of a running cluster; None to start one.

    Raises:
        WorkersError: Ray is missing, or there is no such cluster.
    """

    def __init__(self, address: str | None) -> None:
        try:
            import ray
            from ray.job_config import JobConfig
        except ImportError as error:
            raise WorkersError("several workers need Ray: pip install ray, or leave out --workers and --address.") from error
        self.ray: Any = ray
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own = {} if address else {"include_dashboard": False}
        search = JobConfig(code_search_path=[str(HOME)])
        try:
            context = ray.init(address or "local", log_to_driver=False, logging_level="ERROR", job_config=search, **own)
        except (ConnectionError, ValueError) as error:
            raise WorkersError(f"there is no Ray cluster at --address {address} ({error}).") from error
        self.logs = Path(context.address_info["session_dir"]) / "logs"

    def resources(self, workers: int | None) -> tuple[int, dict[str, int]]:
        """How many workers run, and what each is given: one GPU, or a share of the processors where there are no GPUs.

        Raises:
            WorkersError: more workers than the cluster has room for.
        """
        total = self.ray.cluster_resources()
        gpus, processors = int(total.get("GPU", 0)), int(total.get("CPU", 0))
        count, most = workers or gpus or 1, gpus or processors
        if count > most:
            kind = "GPU" if gpus else "processor"
            raise WorkersError(f"--workers must be at most {most}, since each needs a {kind} of its own, got {count}.")
        return count, {"num_gpus": 1} if gpus else {"num_cpus": max(1, processors // count)}

    def reasons(self) -> str:
        """What is free in the cluster, and the last warnings and errors in Ray's logs on this machine."""
        free, total = self.ray.available_resources(), self.ray.cluster_resources()
        kinds = [kind for kind in ("CPU", "GPU") if kind in total]
        lines = [f"free in the cluster: {', '.join(f'{free.get(kind, 0):g} of {total[kind]:g} {kind}' for kind in kinds)}"]
        lines += self._log_ends() if self.logs.is_dir() else ["Ray's logs are on the machines of the cluster"]
        return "\n".join(["Ray says:", *(f"  {line}" for line in lines)])

    def _log_ends(self) -> Iterator[str]:
        """The last lines of the logs in which a failed start of a worker can be found."""
        yield f"logs in {self.logs}"
        newest = sorted(self.logs.glob("worker-*"), key=lambda path: path.stat().st_mtime)[-2:]
        for path in (self.logs / "raylet.out", self.logs / "raylet.err", *newest):
            if path.is_file():
                lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
                if path.name == "raylet.out":
                    lines = [line for line in lines if WARNINGS.match(line)]
                yield from (f"{path.name}: {line}" for line in lines[-LINES:])

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.ray.shutdown()
