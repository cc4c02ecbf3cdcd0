"""Real Ray workers: in a folder and by a Python with a space in their paths, on a running cluster, and where none can start."""

import ipaddress
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dev.bootstrap import ROOT
from dev.server import free_port
from patience import LIMIT_SECONDS

# A renderer that starts no ComfyUI: it answers with where it runs.
SCRIPT = """
import json, sys
from pathlib import Path
from uncertainty_runs.engines import ray_cluster, ray_workers

class Renderer:
    def describe(self, class_type):
        import uncertainty_runs
        return [class_type, sys.executable, uncertainty_runs.__file__]

    def close(self):
        pass

address, ray_cluster.START_SECONDS = sys.argv[1] or None, float(sys.argv[2])
try:
    engine = ray_workers.RayEngine(Renderer, 1, address)
    print("answer", json.dumps(engine.describe("KSampler")))
    engine.close()
except ray_workers.WorkersError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture(scope="module")
def spaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space, with the package and an environment in it."""
    folder = tmp_path_factory.mktemp("two words")
    for name in ("uncertainty", "uncertainty_runs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "environment"], check=True)
    (site,) = (folder / "environment").glob("lib/python*/site-packages")
    (site / "tests.pth").write_text("\n".join(entry for entry in sys.path if entry.endswith("site-packages")))
    return folder


def environment(**more: str) -> dict[str, str]:
    """Without tokens of other clusters of this machine's user."""
    return os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"} | more


def engine(
    spaced: Path, address: str = "", start_seconds: float = LIMIT_SECONDS, **more: str
) -> subprocess.CompletedProcess[str]:
    """Start a worker and ask it."""
    line = [spaced / "environment" / "bin" / "python", "-c", SCRIPT, address, start_seconds]
    return subprocess.run(
        [*map(str, line)], cwd=spaced, env=environment(**more), capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )


def check(done: subprocess.CompletedProcess[str], spaced: Path) -> None:
    assert done.returncode == 0, done.stderr
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("answer")]
    class_type, python, module = json.loads(answer.removeprefix("answer"))
    assert class_type == "KSampler"
    assert Path(python) == spaced / "environment" / "bin" / "python"
    assert Path(module).is_relative_to(spaced)


def test_workers_start_in_a_folder_with_a_space(spaced: Path) -> None:
    check(engine(spaced), spaced)


LISTENING = """
import json, psutil
from uncertainty_runs.engines import ray_workers

class Renderer:
    def describe(self, class_type):
        return class_type

    def close(self):
        pass

engine = ray_workers.RayEngine(Renderer, 2)
engine.describe("KSampler")
own = psutil.Process()
listening = {
    process.name(): [socket.laddr.ip for socket in process.net_connections("inet") if socket.status == psutil.CONN_LISTEN]
    for process in [own, *own.children(recursive=True)]
}
print("listening", json.dumps(listening))
engine.close()
"""


def test_rays_processes_listen_on_this_machine_alone(spaced: Path) -> None:
    line = [spaced / "environment" / "bin" / "python", "-c", LISTENING]
    done = subprocess.run(
        [*map(str, line)], cwd=spaced, env=environment(), capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    (told,) = [text for text in done.stdout.splitlines() if text.startswith("listening")]
    listening = json.loads(told.removeprefix("listening"))
    assert {"gcs_server", "raylet"} <= listening.keys()
    sockets = [(name, address.removeprefix("::ffff:")) for name, addresses in listening.items() for address in addresses]
    assert len(sockets) >= 4
    assert [socket for socket in sockets if not ipaddress.ip_address(socket[1]).is_loopback] == []


@pytest.fixture
def no_workers(tmp_path: Path) -> dict[str, str]:
    """Variables with which every worker process ends as its Python starts."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif any('default_worker' in argument for argument in sys.orig_argv):\n    sys.exit('no workers here')\n"
    )
    return {"PYTHONPATH": str(tmp_path)}


@contextmanager
def cluster(spaced: Path, **more: str) -> Iterator[str]:
    """The address of a Ray cluster that knows nothing of this package, started with the environment's Python."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as temporary:  # short: it holds sockets
        options = ["--head", "--block", "--include-dashboard=false", "--num-cpus=2", f"--port={port}", f"--temp-dir={temporary}"]
        line = [spaced / "environment" / "bin" / "python", "-m", "ray.scripts.scripts", "start", *options]
        process = subprocess.Popen(
            [*map(str, line)], cwd="/", env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            told = []
            for text in process.stdout:
                told.append(text)
                if "--block" in text:  # the last it says
                    break
            assert process.poll() is None, "".join(told)
            yield f"127.0.0.1:{port}"
        finally:
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                one.kill()
            process.wait()


def test_workers_of_a_running_cluster_start_in_a_folder_with_a_space(spaced: Path) -> None:
    with cluster(spaced) as address:
        check(engine(spaced, address), spaced)


def test_workers_that_never_start_are_reported_with_rays_reasons(spaced: Path, no_workers: dict[str, str]) -> None:
    done = engine(spaced, start_seconds=20, **no_workers)
    assert done.returncode == 1
    assert "error: 1 of 1 workers have not started within 20 seconds." in done.stderr
    assert "Ray says:" in done.stderr
    assert "no workers here" in done.stderr, done.stderr


def test_a_running_cluster_without_workers_is_not_waited_for(spaced: Path, no_workers: dict[str, str]) -> None:
    with cluster(spaced, **no_workers) as address:
        done = engine(spaced, address, start_seconds=20)
    assert done.returncode == 1
    assert f"connecting to the Ray cluster at {address}, for at most 20 seconds …\nTimeout" in done.stderr, done.stderr
