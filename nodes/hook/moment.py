"""The state of a guider at one model call, so that probes can be made later as if it were that call."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Moment:
    """What changes on a guider from step to step: its attributes, and the keyframes of its prompts' hooks.

    Attributes:
        guider: the guider.
        attributes: its attributes.
        keyframes: each group of keyframes with its attributes.
    """

    guider: Any
    attributes: dict[str, Any]
    keyframes: tuple[tuple[Any, dict[str, Any]], ...]

    @classmethod
    def of(cls, guider: Any) -> "Moment":
        """The present state."""
        groups = {
            id(hook.hook_keyframe): hook.hook_keyframe
            for conds in guider.conds.values()
            for cond in conds or ()
            for hook in getattr(cond.get("hooks"), "hooks", ())
        }
        return cls(guider, dict(vars(guider)), tuple((group, dict(vars(group))) for group in groups.values()))

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Within this context the guider is in this state."""
        now = Moment.of(self.guider)
        self._restore()
        try:
            yield
        finally:
            now._restore()

    def _restore(self) -> None:
        vars(self.guider).clear()
        vars(self.guider).update(self.attributes)
        for group, attributes in self.keyframes:
            vars(group).update(attributes)
        if self.keyframes:
            # Weights were patched for the keyframes before.
            self.guider.model_patcher.clean_hooks()
