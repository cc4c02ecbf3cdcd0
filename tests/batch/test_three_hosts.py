"""Batches on machines that share nothing: each has an address, processes and folders of its own, and a real ``ray start``."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from batch_runs import Command, Files, ended, files, whole
from dev.bootstrap import ROOT
from hosts import Host, network
from patience import until

PORT = 6379


class Cluster:
    """Hosts with Ray, one of which is the driver's and runs no workers.

    Args:
        command: the command line of batches.
        folder: for what the hosts keep.
    """

    def __init__(self, command: Command, folder: Path, ray_files: Path) -> None:
        self.command, self.folder, self.ray_files = command, folder, ray_files
        self.outputs = folder / "outputs"  # of the driver; elsewhere there is an empty folder at this path
        self.outputs.mkdir()
        self.started: list[subprocess.Popen[str]] = []

    def own(self, name: str) -> Path:
        """The folder of a host."""
        return self.folder / name

    def environment(self, name: str) -> dict[str, str]:
        own = {"BATCH_FAULT": str(self.own(name) / "happened"), "BATCH_SLOW": "0.1", "TMPDIR": str(self.own(name))}
        more = {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        return os.environ | {"PYTHONPATH": str(ROOT / "dev" / "site")} | own | more

    def join(self, host: Host, name: str, *options: object) -> None:
        """Start Ray on a host, and wait until it runs."""
        line = host.line(
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={host.address}", *options,
            "--num-cpus=1", "--object-store-memory=100000000", folder=ROOT,
        )  # fmt: skip
        process = subprocess.Popen(line, env=self.environment(name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.started.append(process)
        told = []
        for text in process.stdout:
            told.append(text)
            if "--block" in text:  # the last it says
                return
        raise AssertionError("".join(told))

    def driver(self, host: Host, output: Path) -> subprocess.Popen[str]:
        """Start a batch on a host."""
        line = self.command.line(output, "--address", f"{host.address}:{PORT}")
        return subprocess.Popen(
            host.line(*line, folder=ROOT),
            env=self.environment("driver"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


class Hosts:
    """The network of a test: the driver's host, and workers' hosts that are added."""

    def __init__(self, net: object, cluster: Cluster) -> None:
        self.net, self.cluster = net, cluster
        self.driver = self._host("driver", {})
        options = ("--head", "--include-dashboard=false", f"--port={PORT}", f"--temp-dir={cluster.ray_files}", "--num-gpus=0")
        cluster.join(self.driver, "driver", *options)

    def _host(self, name: str, own: dict[Path, Path | None]) -> Host:
        self.cluster.own(name).mkdir(exist_ok=True)
        return self.net.host(name, {self.cluster.ray_files: None} | own)

    def add(self, name: str, *, without: str = "") -> Host:
        """A host with one worker, and a copy of ComfyUI's folders, from which a custom node may be missing."""
        base = self.cluster.own(f"base of {name}")
        subprocess.run(["cp", "-a", self.cluster.command.base, base], check=True)
        if without:
            (base / "custom_nodes" / without).unlink()
        host = self._host(name, {self.cluster.outputs: None, self.cluster.command.base: base})
        self.cluster.join(host, name, f"--address={self.driver.address}:{PORT}", "--num-gpus=1")
        return host

    def begun(self, output: Path) -> subprocess.Popen[str]:
        """A batch that has just been started."""
        return self.cluster.driver(self.driver, output)

    def batch(self, output: Path) -> subprocess.CompletedProcess[str]:
        """Run a batch to its end."""
        return ended(self.begun(output), output)

    def wait_for_images(self, process: subprocess.Popen[str], output: Path) -> None:
        """Wait until more than one job is done."""
        until(lambda: len(list(output.rglob("*.png"))) > 2, alive=lambda: process.poll() is None, movement=lambda: files(output))

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a driver, with all its processes."""
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
        process.communicate()


@pytest.fixture(scope="module")
def hosts(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """The driver's host and two with a worker each."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as ray_files,  # short: it holds sockets
        network() as net,
    ):
        made = Hosts(net, Cluster(command, tmp_path_factory.mktemp("hosts"), Path(ray_files)))
        made.add("b")
        made.add("c")
        yield made


@pytest.fixture
def long(request: pytest.FixtureRequest) -> None:
    """Skips a test without ``--long``."""
    if not request.config.getoption("--long"):
        pytest.skip("takes half a minute or more: give --long")


def test_every_row_once_and_every_file_as_by_one_process(hosts: Hosts, expected: Files) -> None:
    """The workers see another folder at the path of the driver's, or none, and make nothing in it."""
    output = hosts.cluster.outputs / "all"
    done = hosts.batch(output)
    assert done.returncode == 0, done.stderr
    assert whole(output) == expected
    assert all((hosts.cluster.own(name) / "happened.called").exists() for name in ("b", "c"))
    for host in hosts.net.hosts[1:]:
        assert host.run("find", str(hosts.cluster.outputs), "-mindepth", "1") == ""


def test_what_a_machine_lacks_is_said_before_anything_is_drawn(hosts: Hosts, long: None) -> None:
    output, poor = hosts.cluster.outputs / "lacking", hosts.add("poor", without="faults")
    try:
        done = hosts.batch(output)
    finally:
        poor.end()
    assert done.returncode == 1
    told = done.stderr[done.stderr.index("error:") :].splitlines()
    assert told[0] == "error: not every machine of the cluster can run this workflow."
    assert told[1].startswith("  poor: ComfyUI rejected the workflow: ") and "FailsOnce" in told[1]
    assert told[2].startswith("Put there what is missing") and len(told) == 3
    assert not list(output.rglob("*.png"))


def test_over_a_slow_network(hosts: Hosts, expected: Files, long: None) -> None:
    for host in (hosts.driver, *hosts.net.hosts[1:3]):
        host.slow_down("2mbit")
    output = hosts.cluster.outputs / "slow"
    try:
        done = hosts.batch(output)
    finally:
        for host in (hosts.driver, *hosts.net.hosts[1:3]):
            host.speed_up()
    assert done.returncode == 0, done.stderr
    assert whole(output) == expected


def test_a_driver_that_is_killed_resumes(hosts: Hosts, expected: Files, long: None) -> None:
    output = hosts.cluster.outputs / "killed"
    process = hosts.begun(output)
    hosts.wait_for_images(process, output)
    hosts.kill(process)
    assert len(list(output.rglob("*.png"))) < len([name for name in expected if name.endswith(".png")])
    done = hosts.batch(output)
    assert done.returncode == 0, done.stderr
    assert whole(output) == expected


@contextmanager
def others_wait(hosts: Hosts) -> Iterator[None]:
    """The workers of b and c begin jobs, but finish none as long as the context lasts."""
    files_of_them = [hosts.cluster.own(name) / "happened.wait" for name in ("b", "c")]
    for each in files_of_them:
        each.touch()
    yield
    for each in files_of_them:
        each.unlink()


def test_a_host_that_joins_draws_too(hosts: Hosts, expected: Files, long: None) -> None:
    output = hosts.cluster.outputs / "joined"
    with others_wait(hosts):
        process = hosts.begun(output)
        joined = hosts.add("d")
        hosts.wait_for_images(process, output)
        assert (hosts.cluster.own("d") / "happened.called").exists()
    done = ended(process, output)
    joined.end()
    assert done.returncode == 0, done.stderr
    assert whole(output) == expected


def test_the_jobs_of_a_host_that_dies_are_drawn_by_others(hosts: Hosts, expected: Files, long: None) -> None:
    output = hosts.cluster.outputs / "died"
    hosts.cluster.own("e").mkdir()
    (hosts.cluster.own("e") / "happened.wait").touch()
    with others_wait(hosts):
        process = hosts.begun(output)
        dying = hosts.add("e")
        until((hosts.cluster.own("e") / "happened.called").exists, alive=lambda: process.poll() is None)
        dying.end()
    done = ended(process, output)
    assert done.returncode == 0, done.stderr
    assert whole(output) == expected
