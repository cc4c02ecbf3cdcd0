"""The record of an image with scores, shared by the ledger, PNG files and batches."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..kinds import ANYTHING, NUMBER, TRUTH, named
from ..maps import UncertaintyMap
from ..scores import SCORES
from ..settings import possible
from . import foreign
from .fingerprints import described, fingerprint, image_digests

STATES = ("unreviewed", "kept", "rejected", "sorted_out")
"""What was said of an image: nothing yet; a person kept or rejected it; a rule sorted it out, of the filter or of ``rank``."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image with its scores. Fields that its source does not provide are None.

    Attributes:
        scores: value and standard error of the measured quantities and baselines, by name; NaN if not valid.
        fingerprint: digest of the settings that must agree for scores to be comparable.
        model: class of the model and a digest of its weights.
        place: index in the batch that it was sampled in.
        seed: seed of the run.
        digest: identifies the image, see ``fingerprints.image_digests``.
        settings: the settings behind the fingerprint, as JSON.
        prompt: text of the prompt, if it is kept.
        prompt_digest: digest of the encoded prompts.
        file: path of the file, relative to the output folder in the ledger, and to the batch's folder in its rows.
        size: bytes of the file when it was recorded.
        modified: time of its last change then, in nanoseconds since 1970.
        state: one of ``STATES``.
        stars: 0 to 5, given by a person.
        created: when it was recorded, in seconds since 1970.
        id: row id in the ledger.
        number: number of its job in a batch.
        extra_scores: scores of other programs and whether higher is better, by name.
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
    size: int | None = None
    modified: int | None = None
    state: str = STATES[0]
    stars: int = 0
    created: float | None = None
    id: int | None = None
    number: int = 0
    extra_scores: Mapping[str, tuple[float, bool]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """``file`` as a path."""
        return Path(self.file or "")

    def stamped(self, path: Path) -> "ImageRecord":
        """The record with size and time of its file, which is at ``path``; raise OSError if it is not."""
        about = path.stat()
        return replace(self, size=about.st_size, modified=about.st_mtime_ns)

    def score(self, name: str) -> float | None:
        """The score of a quantity or baseline; None if absent or not finite."""
        value, _ = self.scores.get(name, (math.nan, math.nan))
        return value if math.isfinite(value) else None

    def standard_error(self, name: str) -> float | None:
        """The standard error of that score; None if absent or not finite."""
        _, error = self.scores.get(name, (math.nan, math.nan))
        return error if math.isfinite(error) else None


def extra_fields(extra: Mapping[str, tuple[float, bool]]) -> dict[str, dict[str, Any]]:
    """Extra scores of a record, for JSON."""
    return {name: {"value": value, "higher_is_better": up} for name, (value, up) in extra.items()}


def extra_scores(found: Any) -> dict[str, tuple[float, bool]]:
    """Extra scores from JSON.

    Raises:
        ValueError: it is not what ``extra_fields`` makes.
    """
    known = foreign.field({"extra_scores": found}, "extra_scores", named(named(ANYTHING)))
    return {
        name: (foreign.field(score, "value", NUMBER), foreign.field(score, "higher_is_better", TRUTH))
        for name, score in known.items()
    }


def records_of(measured: UncertaintyMap, files: Sequence[str] | None = None) -> list[ImageRecord]:
    """A record of every image of a map; ``files`` are the paths of the saved images.

    Settings with impossible values, in a map that another program made, are absent from the record.
    """
    names = [name for name in SCORES if name in measured.names or name in measured.baselines]
    scores = {name: measured.score(name) for name in names}
    settings, name = json.dumps(described(measured), sort_keys=True), fingerprint(measured)
    known = possible(measured.settings)
    return [
        ImageRecord(
            scores={kind: (float(score.value[index]), float(score.standard_error[index])) for kind, score in scores.items()},
            fingerprint=name,
            model=known.get("model", ""),
            place=measured.places[index],
            seed=known.get("seed"),
            digest=digest,
            settings=settings,
            prompt_digest=known.get("prompt"),
            file=None if files is None else files[index],
            state="sorted_out" if known.get("sorted_out") else STATES[0],
            stars=measured.stars[index],
            extra_scores={
                kind: (float(score.values[index]), score.higher_is_better) for kind, score in measured.extra_scores.items()
            },
        )
        for index, digest in enumerate(image_digests(measured))
    ]
