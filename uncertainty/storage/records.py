"""The one record of an image with scores: what the ledger, PNG files and batches know of it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..maps import UncertaintyMap
from ..scores import SCORES
from .fingerprints import described, fingerprint, image_digests


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image with its scores. What its source does not tell is None.

    Attributes:
        scores: value and standard error by quantity or baseline, those that were measured; NaN where there is no valid one.
        fingerprint: digest of the settings under which its scores compare.
        model: class of the model and a digest of its weights.
        place: in the batch it was sampled in.
        seed: of the run.
        digest: of its map and settings, by which it is known again.
        settings: the settings that the fingerprint stands for, as JSON.
        prompt: the text that was drawn.
        prompt_digest: digest of the encoded prompts.
        file: where it lies: below the output folder in the ledger, below the batch's folder in its rows.
        rejected: whether the file was moved away.
        created: when it was recorded, in seconds since 1970.
        id: its number in the ledger.
        number: of its job in a batch.
    """

    scores: Mapping[str, tuple[float, float]]
    fingerprint: str
    model: str
    place: int
    seed: int | None = None
    digest: str | None = None
    settings: str | None = None
    prompt: str | None = None
    prompt_digest: str | None = None
    file: str | None = None
    rejected: bool = False
    created: float | None = None
    id: int | None = None
    number: int = 0

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.file or "")

    def score(self, name: str) -> float | None:
        """Its valid score by a quantity or baseline; None where there is none."""
        value, _ = self.scores.get(name, (math.nan, math.nan))
        return value if math.isfinite(value) else None

    def standard_error(self, name: str) -> float | None:
        """Of that score; None where it is not known."""
        _, error = self.scores.get(name, (math.nan, math.nan))
        return error if math.isfinite(error) else None


def records_of(measured: UncertaintyMap, files: Sequence[str] | None = None) -> list[ImageRecord]:
    """A record of every image of a map; ``files`` are where they were saved, if they were."""
    names = [name for name in SCORES if name in measured.quantities or name in measured.baselines]
    scores = {name: measured.score(name) for name in names}
    settings, name = json.dumps(described(measured), sort_keys=True), fingerprint(measured)
    return [
        ImageRecord(
            scores={kind: (float(score.value[place]), float(score.standard_error[place])) for kind, score in scores.items()},
            fingerprint=name,
            model=str(measured.settings.get("model", "")),
            place=place,
            seed=measured.settings.get("seed"),
            digest=digest,
            settings=settings,
            prompt_digest=measured.settings.get("prompt"),
            file=None if files is None else files[place],
        )
        for place, digest in enumerate(image_digests(measured))
    ]
