"""A real ComfyUI server with this pack, as a context manager."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from .bootstrap import BASE, ROOT, RUNTIME, prepare_base, shown
from .launcher import END_WITH_PARENT

HOST = "127.0.0.1"
NODES = tuple(sorted(page.stem for page in (ROOT / "web" / "docs").glob("Uncertainty*.md")))  # each node has a help page
SILENCE_SECONDS = 600  # without a log line or an answer: the server hangs. A busy machine only makes it slow.
STOP_SECONDS = 10
TAIL_LINES = 8


class ServerError(Exception):
    """The server did not start; the message says why and what to do."""


def free_port(wanted: int | None = None) -> int:
    """The wanted port, or any port that nobody listens on.

    Raises:
        ServerError: the wanted port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            raise ServerError(f"port {wanted} cannot be used ({error.strerror}): stop what uses it, or take another.") from error
        return int(probe.getsockname()[1])


class ComfyServer:
    """A server that starts on entering and stops, with all processes that it started, on leaving. It listens at ``url``.

    It also stops when the process that entered ends in any other way, even by SIGKILL.
    """

    def __init__(
        self,
        port: int | None = None,
        base: Path = BASE,
        log: Path = RUNTIME / "server.log",
        front_end: Path | None = None,
    ) -> None:
        """Listen on the given port or a free one, work in ``base``, write the output to ``log``, serve this front-end."""
        self.wanted_port = port
        self.base = base
        self.log = log
        self.front_end = front_end

    def __enter__(self) -> "ComfyServer":
        """Start the server and wait until it answers and has this pack's nodes.

        Raises:
            ServerError: the server does not start, or the pack does not load in it.
        """
        self.port = free_port(self.wanted_port)
        self.url = f"http://{HOST}:{self.port}"
        prepare_base(self.base)
        options = ["--listen", HOST, "--port", str(self.port), "--disable-api-nodes", "--base-directory", str(self.base)]
        if self.front_end:
            options += ["--front-end-root", str(self.front_end)]
        database = f"sqlite:///{self.base / 'user' / 'comfyui.db'}"  # by default in ComfyUI's own folder
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dev.launcher", END_WITH_PARENT, *options, "--database-url", database],
                cwd=ROOT,
                stdin=subprocess.PIPE,  # closes when this process ends
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own, which can be stopped as a whole
            )
        try:
            self._wait()
            self._check_nodes()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop the server."""
        self.stop()

    @property
    def process_id(self) -> int:
        """Id of the server's process and of its process group."""
        return self._process.pid

    def stop(self) -> None:
        """End the whole process group, first by SIGTERM."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, signal_number)
                self._process.wait(STOP_SECONDS)

    def _wait(self) -> None:
        written, last_sign = 0, time.monotonic()
        while time.monotonic() - last_sign < SILENCE_SECONDS:
            code = self._process.poll()
            if code is not None:
                raise ServerError(f"ComfyUI ended with code {code} while starting; {self._tail()}")
            try:
                with urllib.request.urlopen(f"{self.url}/system_stats", timeout=SILENCE_SECONDS):
                    return
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.2)
            if self.log.stat().st_size > written:
                written, last_sign = self.log.stat().st_size, time.monotonic()
        raise ServerError(f"ComfyUI wrote nothing and did not answer for {SILENCE_SECONDS} s; {self._tail()}")

    def _check_nodes(self) -> None:
        for node in NODES:
            with urllib.request.urlopen(f"{self.url}/object_info/{node}", timeout=SILENCE_SECONDS) as response:
                if node in json.load(response):
                    continue
            complaints = re.findall(
                r"^.*uncertainty-sampling.*: (.+)$", self.log.read_text(errors="replace", encoding="utf-8"), re.MULTILINE
            )
            reason = f"ComfyUI says: {complaints[0]}" if complaints else "ComfyUI does not say why"
            raise ServerError(f"the pack did not load, {node} is missing; {reason} (log: {shown(self.log)})")

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace", encoding="utf-8").splitlines()[-TAIL_LINES:]
        return "\n".join([f"the end of {shown(self.log)}:", *(f"  {line}" for line in lines)])
