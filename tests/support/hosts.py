"""Machines made of Linux namespaces: each with a network address, a name, processes and folders of its own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from patience import until

NAMESPACES = ("--net", "--mount", "--uts", "--pid")
TOOLS = ("unshare", "nsenter", "ip", "tc", "mount")
HOLDS = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "sleep", "infinity"]

PORT = 8000
# Asks for half a minute whether a machine answers.
ASK = """
import socket, sys, time
for _ in range(60):
    try:
        sys.exit(socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close())
    except OSError:
        time.sleep(0.5)
sys.exit("it does not answer")
"""


class Host:
    """A machine of a network.

    Args:
        network: the network that it is connected to.
        name: its name.
        number: the last part of its address.
        own: folders that are its own: what is in the second is seen at the first; nothing at all if that is None.
    """

    def __init__(self, network: "Network", name: str, number: int, own: Mapping[Path, Path | None]) -> None:
        self.network, self.address, self.link = network, f"10.9.8.{number}", f"to{number}"
        self.holder, self.pid = _held()
        network.run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(self.pid))
        network.run("ip", "link", "set", self.link, "master", "switch", "up")
        self.run("hostname", name)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")  # noqa: S108  # where Ray keeps objects
        for place, content in own.items():
            self.run("mount", *(("-t", "tmpfs", "tmpfs") if content is None else ("--bind", str(content))), str(place))

    def line(self, *command: object, folder: Path = Path("/")) -> list[str]:
        """A command line that runs on this machine."""
        return [*_entering(self.pid, NAMESPACES), "sh", "-c", 'cd "$0" && exec "$@"', str(folder), *map(str, command)]

    def run(self, *command: str) -> str:
        """Run a command to its end; returns what it prints."""
        return subprocess.run(self.line(*command), check=True, capture_output=True, text=True).stdout

    def slow_down(self, rate: str) -> None:
        """Limit what it receives, such as ``2mbit``."""
        limit = ("rate", rate, "burst", "32kb", "latency", "500ms")
        self.network.run("tc", "qdisc", "add", "dev", self.link, "root", "tbf", *limit)

    def speed_up(self) -> None:
        """Take the limit away."""
        self.network.run("tc", "qdisc", "del", "dev", self.link, "root")

    def end(self) -> None:
        """All its processes end at once, and its address is gone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.holder.wait()


class Network:
    """A switch that hosts are connected to. It is not connected to this machine's network."""

    def __init__(self) -> None:
        self.holder, self.pid = _held()
        self.hosts: list[Host] = []
        self.run("ip", "link", "add", "switch", "type", "bridge")
        self.run("ip", "link", "set", "switch", "up")

    def run(self, *command: str) -> None:
        """Run a command in the switch."""
        subprocess.run([*_entering(self.pid, ("--net",)), *command], check=True, capture_output=True)

    def host(self, name: str, own: Mapping[Path, Path | None]) -> Host:
        """Another machine."""
        self.hosts.append(Host(self, name, len(self.hosts) + 1, own))
        return self.hosts[-1]


@contextmanager
def network() -> Iterator[Network]:
    """A network whose machines end with the context. The test is skipped where namespaces cannot be made."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if sys.platform != "linux" or lacking:
        pytest.skip(f"hosts are made of Linux namespaces, with {', '.join(lacking or TOOLS)}")
    try:
        _try()
    except (subprocess.SubprocessError, psutil.Error, AssertionError) as error:
        said = getattr(error, "stderr", None) or error
        pytest.skip(f"only who may make namespaces that reach one another can make hosts: {said}")
    with _network() as made:
        yield made


@contextmanager
def _network() -> Iterator[Network]:
    made = Network()
    try:
        yield made
    finally:
        for host in made.hosts:
            host.end()
        made.holder.kill()
        made.holder.wait()


def _try() -> None:
    """Make two hosts, of which one reaches the other."""
    with _network() as made:
        one, other = made.host("one", {}), made.host("other", {})
        listening = subprocess.Popen(
            other.line(sys.executable, "-m", "http.server", str(PORT)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            one.run(sys.executable, "-c", ASK, other.address, str(PORT))
        finally:
            listening.kill()
            listening.wait()


def _held() -> tuple[subprocess.Popen[bytes], int]:
    """A process that holds new namespaces, and the number of its child, which is the first in them."""
    holder = subprocess.Popen(HOLDS, start_new_session=True)
    until(lambda: [child for child in psutil.Process(holder.pid).children() if child.name() == "sleep"])
    return holder, psutil.Process(holder.pid).children()[0].pid


def _entering(pid: int, namespaces: tuple[str, ...]) -> list[str]:
    return ["nsenter", "--target", str(pid), *namespaces, "--"]
