"""Verdicts and stars that a person gives to saved images: in the ledger, and as a rating in the file itself."""

from ...uncertainty.choosing.rejecting import Mover
from ...uncertainty.storage import rating
from ...uncertainty.storage.ledger import Ledger
from ...uncertainty.storage.picture_files import PICTURES
from ...uncertainty.storage.records import ImageRecord
from . import moving_images
from .moving_images import Action


def judging(state: str | None, stars: int | None) -> Action:
    """The action that gives images a state, stars, or both; None leaves them as they are."""

    def judge(ledger: Ledger, mover: Mover, image: ImageRecord) -> None:
        judged(ledger, image, image.state if state is None else state, image.stars if stars is None else stars)

    return judge


def reject(ledger: Ledger, mover: Mover, image: ImageRecord) -> None:
    """Reject the image, and move its file to the folder ``rejected`` unless it is there."""
    moving_images.move_away(ledger, mover, judged(ledger, image, "rejected", image.stars))


def restore(ledger: Ledger, mover: Mover, image: ImageRecord) -> None:
    """Move the image's file back from the folder ``rejected`` unless it is not there, and withdraw what sorted it out."""
    state = "unreviewed" if image.state in ("rejected", "sorted_out") else image.state
    moving_images.move_back(ledger, mover, judged(ledger, image, state, image.stars))


def judged(ledger: Ledger, image: ImageRecord, state: str, stars: int) -> ImageRecord:
    """Store what a person said of an image whose file is where it is recorded. A file is written only if its rating changes.

    Raises:
        ValueError, OSError: the file cannot be written; then nothing is stored.
    """
    before, after = _rating(image.state, image.stars), _rating(state, stars)
    path = moving_images.path_of(image)
    if before == after or path is None or path.suffix.lower() not in PICTURES:
        return ledger.change(image.id or 0, state=state, stars=stars)
    return ledger.change(image.id or 0, state=state, stars=stars, stamp=rating.write_rating(path, after))


def _rating(state: str, stars: int) -> int:
    return rating.REJECTED if state == "rejected" else stars
