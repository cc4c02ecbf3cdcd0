"""How long tests wait: as long as something moves. A slow or busy machine fails no test."""

import time
from collections.abc import Callable

from dev.server import SILENCE_SECONDS as LIMIT_SECONDS  # the one limit for a server, its clients and all tests

POLL_SECONDS = 0.05


def until(
    true: Callable[[], object],
    *,
    alive: Callable[[], object] = lambda: True,
    movement: Callable[[], object] = lambda: None,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Wait until a condition is true.

    Args:
        true: the condition.
        alive: whether the process that would make it true still runs.
        movement: a value that changes while that process works, such as the size of its log. Each change restarts the limit.
        pause: waits for some seconds between two looks.

    Raises:
        AssertionError: the process ended, or nothing moved for ``LIMIT_SECONDS``.
    """
    seen, end = movement(), time.monotonic() + LIMIT_SECONDS
    while not true():
        # The second look: the condition may have become true just before the process ended.
        assert alive() or true(), "the process ended before the condition became true"
        moved = movement()
        if moved != seen:
            seen, end = moved, time.monotonic() + LIMIT_SECONDS
        assert time.monotonic() < end, f"nothing moved for {LIMIT_SECONDS} s; last seen: {seen}"
        pause(POLL_SECONDS)
