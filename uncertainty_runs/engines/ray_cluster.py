"""The Ray cluster that workers run in, and what Ray says when one of them does not start."""

import faulthandler
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..comfyui import HOME
from ..terminal import warn

START_SECONDS = 120.0
ANSWER_SECONDS = 5.0
HOST_AND_PORT = re.compile(r"(ray://)?(?P<host>[^/]+):(?P<port>\d+)")
NO_WAITING = "RAY_prestart_worker_first_driver"
# Where this is 0, Ray's processes have the address 127.0.0.1 and listen there alone. It is Ray's default on Windows and macOS;
# elsewhere they listen on all interfaces. Ray reads it when it is first imported.
SEVERAL_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
WARNINGS = re.compile(r"^\[[^]]* [WEC] \d+ \d+\]")
LINES = 3


class WorkersError(RuntimeError):
    """Workers cannot be started, or died; the message says why and what to do."""


def on_this_machine() -> Any:
    """Ray, for a cluster that no other machine can reach.

    Raises:
        ImportError: it is not installed.
    """
    os.environ[SEVERAL_MACHINES] = "0"
    import ray

    return ray


class Cluster:
    """A running Ray cluster, or one that is started on this machine, cannot be reached from another, and ends with this process.

    Workers find this package by the job's search path. A ``runtime_env`` would do that too, but makes Ray start workers through
    a shell command in which the path of Python is not quoted: if it has a space in it, they never start.

    Args:
        address: of a running cluster; None to start one.

    Raises:
        WorkersError: Ray is missing, there is no such cluster, or one that is started here could be reached from other machines.
    """

    def __init__(self, address: str | None) -> None:
        try:
            if address is None:
                on_this_machine()
            import ray
            from ray.job_config import JobConfig
        except ImportError as error:
            raise WorkersError("several workers need Ray: pip install ray, or leave out --workers and --address.") from error
        self.ray: Any = ray
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings = {"log_to_driver": False, "logging_level": "ERROR", "job_config": JobConfig(code_search_path=[str(HOME)])}
        if address is not None:
            _check_answers(address)
            with _ending_after(START_SECONDS, f"connecting to the Ray cluster at {address}"):
                try:
                    context = ray.init(address, **settings)
                except (ConnectionError, ValueError) as error:
                    raise _no_cluster(address, error) from error
        else:
            with _not_waiting_for_workers():
                context = ray.init("local", include_dashboard=False, **settings)
            _check_loopback(ray, context.address_info["node_ip_address"])
        known = getattr(context, "address_info", {})  # empty where ray:// leads to another machine
        self.logs = Path(known["session_dir"]) / "logs" if known else None

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

    def gpus(self) -> int:
        """GPUs of the whole cluster."""
        return int(self.ray.cluster_resources().get("GPU", 0))

    def reasons(self) -> str:
        """What is free in the cluster, and the last warnings and errors in Ray's logs on this machine."""
        free, total = self.ray.available_resources(), self.ray.cluster_resources()
        kinds = [kind for kind in ("CPU", "GPU") if kind in total]
        lines = [f"free in the cluster: {', '.join(f'{free.get(kind, 0):g} of {total[kind]:g} {kind}' for kind in kinds)}"]
        if self.logs is not None and self.logs.is_dir():
            lines += _log_ends(self.logs)
        else:
            lines.append("Ray's logs are on the machines of the cluster")
        return "\n".join(["Ray says:", *(f"  {line}" for line in lines)])

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise WorkersError if nothing listens at an address of the form ``HOST:PORT``, for which Ray would wait for minutes."""
    place = HOST_AND_PORT.fullmatch(address)
    if place is None:  # auto, or what Ray refuses at once
        return
    try:
        socket.create_connection((place["host"].strip("[]"), int(place["port"])), ANSWER_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> WorkersError:
    reason = str(getattr(error, "strerror", None) or error).rstrip(".")
    return WorkersError(
        f"there is no Ray cluster at --address {address} ({reason}): start one with ray start --head, give the "
        "address that it names, or leave out --address."
    )


def _check_loopback(ray: Any, address: str) -> None:
    if not ipaddress.ip_address(address).is_loopback:
        ray.shutdown()
        raise WorkersError(
            f"Ray {ray.__version__} would listen on {address}, where other machines can reach it and run code: install a version "
            "that the tests use (2.60), or leave out --workers."
        )


@contextmanager
def _not_waiting_for_workers() -> Iterator[None]:
    """A cluster that starts inside answers before its first workers run.

    Otherwise it would wait for them without end, in a call that lets nothing else run in this process.
    """
    before = os.environ.get(NO_WAITING)
    os.environ[NO_WAITING] = "0"
    try:
        yield
    finally:
        os.environ.pop(NO_WAITING)
        if before is not None:
            os.environ[NO_WAITING] = before


@contextmanager
def _ending_after(seconds: float, doing: str) -> Iterator[None]:
    """End the process with a traceback if what is inside takes longer.

    A cluster whose workers cannot start does not answer its first driver, in a call that lets nothing else run in this process,
    not even Ctrl-C: only the system's thread of ``faulthandler`` can end it.
    """
    warn(f"{doing}, for at most {seconds:g} seconds …")
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _log_ends(logs: Path) -> Iterator[str]:
    """The last lines of the logs in which a failed start of a worker can be found."""
    yield f"logs in {logs}"
    newest = sorted(logs.glob("worker-*"), key=lambda path: path.stat().st_mtime)[-2:]
    for path in (logs / "raylet.out", logs / "raylet.err", *newest):
        if path.is_file():
            lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            if path.name == "raylet.out":
                lines = [line for line in lines if WARNINGS.match(line)]
            yield from (f"{path.name}: {line}" for line in lines[-LINES:])
