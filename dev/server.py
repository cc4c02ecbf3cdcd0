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

HOST = "127.0.0.1"
NODES = (
    "UncertaintyKSampler",
    "UncertaintySamplerCustom",
    "UncertaintyGuidance",
    "UncertaintyOptions",
    "UncertaintyBaselines",
    "UncertaintyLaplaceFit",
    "UncertaintyMapPreview",
    "UncertaintyToMask",
    "UncertaintyScoreFilter",
    "UncertaintySaveImage",
    "UncertaintyCalibrate",
    "UncertaintyThresholdsSave",
    "UncertaintyThresholdsLoad",
    "UncertaintyMapSave",
    "UncertaintyMapLoad",
    "UncertaintyPlot",
    "UncertaintySparsification",
    "UncertaintyDemoModel",
    "UncertaintyPixelModelLoader",
    "UncertaintyClassLabel",
)
START_SECONDS = 300
STOP_SECONDS = 10
TAIL_LINES = 8


class ServerError(Exception):
    """The server cannot be had; the message says why and what to do."""


def free_port(wanted: int | None = None) -> int:
    """A port nobody listens on: the wanted one, or any.

    Raises:
        ServerError: the wanted one is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            raise ServerError(f"port {wanted} cannot be used ({error.strerror}): stop what uses it, or take another.") from error
        return int(probe.getsockname()[1])


class ComfyServer:
    """Started on entering, stopped with everything it started on leaving; ``url`` is where it listens."""

    def __init__(
        self,
        port: int | None = None,
        base: Path = BASE,
        log: Path = RUNTIME / "server.log",
        front_end: Path | None = None,
    ) -> None:
        """Listen on the given port or a free one, work in ``base``, write the output to ``log``, serve another front-end."""
        self.wanted_port = port
        self.base = base
        self.log = log
        self.front_end = front_end

    def __enter__(self) -> "ComfyServer":
        """Start it and wait until it answers and has this pack's nodes.

        Raises:
            ServerError: it does not start, or the pack does not import in it.
        """
        self.port = free_port(self.wanted_port)
        self.url = f"http://{HOST}:{self.port}"
        prepare_base(self.base)
        options = ["--listen", HOST, "--port", str(self.port), "--disable-api-nodes", "--base-directory", str(self.base)]
        if self.front_end:
            options += ["--front-end-root", str(self.front_end)]
        database = f"sqlite:///{self.base / 'user' / 'comfyui.db'}"  # by default it lies in ComfyUI's own folder
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dev.launcher", *options, "--database-url", database],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own, to be stopped as a whole
            )
        try:
            self._wait()
            self._check_nodes()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop it."""
        self.stop()

    @property
    def process_id(self) -> int:
        """Of the server's process, which leads its process group."""
        return self._process.pid

    def stop(self) -> None:
        """End the whole process group, politely first."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, signal_number)
                self._process.wait(STOP_SECONDS)

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            code = self._process.poll()
            if code is not None:
                raise ServerError(f"ComfyUI ended with code {code} while starting; {self._tail()}")
            try:
                with urllib.request.urlopen(f"{self.url}/system_stats", timeout=5):
                    return
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.2)
        raise ServerError(f"ComfyUI did not answer within {START_SECONDS} s; {self._tail()}")

    def _check_nodes(self) -> None:
        for node in NODES:
            with urllib.request.urlopen(f"{self.url}/object_info/{node}", timeout=60) as response:
                if node in json.load(response):
                    continue
            complaints = re.findall(r"^.*uncertainty-sampling.*: (.+)$", self.log.read_text(errors="replace"), re.MULTILINE)
            reason = f"ComfyUI says: {complaints[0]}" if complaints else "ComfyUI does not say why"
            raise ServerError(f"the pack did not load, {node} is missing; {reason} (log: {shown(self.log)})")

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"the end of {shown(self.log)}:", *(f"  {line}" for line in lines)])
