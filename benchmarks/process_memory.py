"""Bytes of this process and of the machine, as Linux counts them."""

import ctypes
from pathlib import Path


def status(name: str) -> int:
    """Bytes under a name of ``/proc/self/status``."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def available() -> int:
    """Bytes that can be had without swapping."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])


def trim() -> None:
    """Give what was freed back to the system."""
    ctypes.CDLL(None).malloc_trim(0)


def forget_peak() -> int:
    """Start the high-water mark anew; bytes in use now."""
    trim()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return status("VmRSS")


def peak() -> int:
    """The most bytes in use since then."""
    return status("VmHWM")
