"""Moves the files of the ledger's images, and finds files that were moved by hand."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...uncertainty.choosing import rejecting
from ...uncertainty.choosing.rejecting import Mover
from ...uncertainty.storage.ledger import Ledger
from ...uncertainty.storage.ledger_file import LedgerError
from ...uncertainty.storage.paths import file_below
from ...uncertainty.storage.records import ImageRecord
from ...uncertainty.storage.saved_files import is_file_of
from . import ledger_access

# Names with a number that are looked for, if other files had the name when the file was moved.
MOST_NUMBERS = 9

log = logging.getLogger(__name__)

# What is done with an image whose file is known to be its own, by the holder of the right to move it.
Action = Callable[[Ledger, Mover, ImageRecord], None]


def move_away(ledger: Ledger, mover: Mover, image: ImageRecord) -> None:
    """Move the image's file to the folder ``rejected``, unless it is there."""
    if not rejecting.is_away(image.path):
        _moved(ledger, image, mover.reject(image.path.name))


def move_back(ledger: Ledger, mover: Mover, image: ImageRecord) -> None:
    """Move the image's file back from the folder ``rejected``, unless it is not there."""
    if rejecting.is_away(image.path):
        _moved(ledger, image, mover.restore(image.path.name))


def relocate(ledger: Ledger, mover: Mover, image: ImageRecord) -> None:
    """Nothing more: every image is first recorded where its file is."""


def act(action: Action, ids: Sequence[int]) -> dict[str, Any]:
    """Do something with the files of images: the ids of those where it worked, and the reasons for the others."""
    ledger = ledger_access.ledger()
    reasons: dict[int, str] = {}
    by_folder: dict[Path, list[int]] = {}
    known = {image.id: image for image in ledger.find(ids)}
    for each in dict.fromkeys(ids):
        path = path_of(known[each]) if each in known else None
        if each not in known:
            reasons[each] = f"the ledger has no saved image {each}."
        elif path is None:
            reasons[each] = f"{known[each].path.name} is outside the output folder, where no file is moved or changed."
        else:
            by_folder.setdefault(rejecting.folder_of(path), []).append(each)
    for folder, group in by_folder.items():
        reasons |= _act_in(folder, action, ledger, group)
    done = [each for each in dict.fromkeys(ids) if each not in reasons]
    return {"done": done, "failed": [{"id": each, "reason": reason} for each, reason in reasons.items()]}


def _act_in(folder: Path, action: Action, ledger: Ledger, ids: Sequence[int]) -> dict[int, str]:
    """Do it for the images of one folder; returns the reason for each where it failed."""
    reasons = {}
    try:
        with rejecting.moving(ledger_access.output(), folder) as mover:
            for each in ids:
                try:
                    action(ledger, mover, _recorded_where_it_is(ledger, each))
                except (ValueError, OSError, LedgerError) as error:
                    reasons[each] = in_words(error)
    except (ValueError, OSError) as error:
        reasons |= {each: in_words(error) for each in ids if each not in reasons}
    return reasons


def in_words(error: Exception) -> str:
    """The message of an error, without the paths that the system's own errors name."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    return str(error)


def saved_image(ledger: Ledger, number: int) -> ImageRecord:
    """The saved image with this id; raise FileNotFoundError if there is none."""
    images = ledger.find([number])
    if not images:
        raise FileNotFoundError(f"the ledger has no saved image {number}.")
    return images[0]


def path_of(image: ImageRecord) -> Path | None:
    """Path of the image's file as recorded; None if it is outside the output folder."""
    path = file_below(ledger_access.output(), image.file or "")
    return None if path is None else Path(path)


def where_it_is(ledger: Ledger, image: ImageRecord) -> ImageRecord | None:
    """The image with the current path of its file, which is elsewhere if a move was interrupted or done by hand; None if lost.

    Only a file that is known to be the image's own counts, whatever its name.
    """
    path = path_of(image)
    if path is None:
        return None
    if is_file_of(image, path):
        return image
    folder = rejecting.folder_of(path)
    away = rejecting.is_away(path)
    other = folder / path.name if away else folder / rejecting.REJECTED / path.name
    for place in (other, *(rejecting.numbered(other, number) for number in range(1, MOST_NUMBERS + 1))):
        # An image can have several files: those that have a row of their own are not this row's.
        if is_file_of(image, place) and not ledger.has(_name(place)):
            return replace(image, file=_name(place), state=_sorted(image.state, away=not away))
    return None


def _sorted(state: str, *, away: bool) -> str:
    """The state of an image whose file was moved by a rule, such as that of ``rank``, or by hand: a person's verdict holds."""
    if state in ("kept", "rejected"):
        return state
    return "sorted_out" if away else "unreviewed"


def _recorded_where_it_is(ledger: Ledger, number: int) -> ImageRecord:
    """The image with this id and the current path of its file, which is also stored in the ledger.

    Call it with the right to move: another process may have moved the file before.

    Raises:
        FileNotFoundError: the ledger no longer has the image, or its file is in neither folder.
    """
    image = saved_image(ledger, number)
    present = where_it_is(ledger, image)
    if present is None:
        raise FileNotFoundError(f"{image.path.name} is no longer in its folder.")
    if present != image:
        log.info("%s was found in %s", present.path.name, present.path.parent)
        return ledger.change(image.id or 0, file=present.file, state=present.state)
    return image


def _moved(ledger: Ledger, image: ImageRecord, place: Path) -> None:
    # If the process is killed between the move and this line, where_it_is still finds the file.
    ledger.change(image.id or 0, file=_name(place))


def _name(path: Path) -> str:
    return path.relative_to(ledger_access.output()).as_posix()
