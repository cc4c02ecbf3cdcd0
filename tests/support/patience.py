"""How long tests wait: as long as something moves. A slow or busy machine is no failure."""

import time
from collections.abc import Callable

# Without any movement. A failure costs this much once; nothing that works takes a fraction of it, however busy the machine.
LIMIT_SECONDS = 300.0
POLL_SECONDS = 0.05


def until(
    true: Callable[[], object],
    *,
    alive: Callable[[], object] = lambda: True,
    movement: Callable[[], object] = lambda: None,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Wait until something is true.

    Args:
        true: what is waited for.
        alive: whether what would bring it about still runs.
        movement: anything that changes while work goes on, such as the size of a log; each change starts the limit anew.
        pause: waits some seconds between two looks.

    Raises:
        AssertionError: what would bring it about has ended, or nothing moved for ``LIMIT_SECONDS``.
    """
    seen, end = movement(), time.monotonic() + LIMIT_SECONDS
    while not true():
        # Once more: it may have become true just before the end.
        assert alive() or true(), "what was waited for cannot happen any more: the process has ended"
        moved = movement()
        if moved != seen:
            seen, end = moved, time.monotonic() + LIMIT_SECONDS
        assert time.monotonic() < end, f"nothing moved for {LIMIT_SECONDS:.0f} s, last seen: {seen}"
        pause(POLL_SECONDS)
