"""Files that another program has open. Windows lets nobody rename, replace or delete them meanwhile.

Virus scanners and indexers have each new file open for some milliseconds, a viewer has its file for as long as it shows it.
"""

import time
from collections.abc import Callable
from pathlib import Path

WAIT_UNTIL_CLOSED = 2.0  # seconds to wait for another program
PAUSE = 0.02  # seconds between tries
# Windows' numbers for "access is denied" and "is being used by another process": which one it gives depends on the call.
REFUSALS = (5, 32)


class InUse(PermissionError):
    """Another program has a file open."""


def is_in_use(error: OSError) -> bool:
    """Whether an operation failed because a file is open elsewhere. Windows says the same of a write-protected file."""
    return isinstance(error, PermissionError) and getattr(error, "winerror", None) in REFUSALS


def when_free(act: Callable[[], object], path: Path) -> None:
    """Rename, replace or delete a file as soon as no other program has it open; try for ``WAIT_UNTIL_CLOSED`` seconds.

    Args:
        act: what is done.
        path: the file, for messages.

    Raises:
        InUse: it is still open in another program, or write-protected.
        OSError: as ``act`` raises it.
    """
    end = time.monotonic() + WAIT_UNTIL_CLOSED
    while True:
        try:
            act()
        except PermissionError as error:
            if not is_in_use(error):
                raise
            if time.monotonic() > end:
                raise InUse(
                    f"{path.name} is open in another program, or write-protected: close it there, and try again."
                ) from error
        else:
            return
        time.sleep(PAUSE)


def discard(path: Path) -> None:
    """Delete a leftover. One that another program has open stays until somebody discards it again.

    Raises:
        OSError: it cannot be deleted for another reason.
    """
    try:
        path.unlink(missing_ok=True)
    except PermissionError as error:
        if not is_in_use(error):
            raise
