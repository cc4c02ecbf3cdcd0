"""Runs that end at UncertaintyScoreFilter in mode choose, because a person has yet to choose among their images.

ComfyUI executes one prompt at a time, so a node that waited would hold up all others. Instead the run ends, and the answer queues
its prompt once more, with the verdicts by hand: what comes before the filter is then in ComfyUI's cache.
"""

import secrets

from comfy_execution.utils import get_executing_context

# The verdicts by hand that runs were given which wait.
_unanswered: set[str] = set()


def note(by_hand: str) -> None:
    """Remember that a run with these verdicts waits."""
    _unanswered.add(by_hand)


def fingerprint(by_hand: str) -> str | None:
    """A new value each time if a run with these verdicts waits, so that the node runs again: the answer continues the last run.

    Otherwise an answer would continue an earlier one, whose nodes behind the filter may have been others.
    """
    return secrets.token_hex() if by_hand in _unanswered else None


def this_run() -> dict[str, str] | None:
    """The prompt that is being executed and the node in it; None if a script calls the node."""
    context = get_executing_context()
    return None if context is None else {"prompt": context.prompt_id, "node": context.node_id}
