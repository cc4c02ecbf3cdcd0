"""Placeholders in the names of files, and the characters that a name must not contain.

ComfyUI's page fills in ``%date:…%`` and ``%Node.widget%`` before it queues a workflow. A name that comes by a link or through the
API has not been there: the server fills in the date, with the page's pattern letters, but knows no widgets.
"""

import re
from datetime import datetime

from ..uncertainty.storage.paths import FORBIDDEN, is_cut_to_nothing

# Names of devices of Windows, whatever follows after a dot: what is written to NUL.png is gone.
DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[1-9¹²³]) *(\..*)?", re.IGNORECASE)
DATE = re.compile(r"%date:([^%]+)%")
LETTERS = re.compile("dd?|MM?|hh?|mm?|ss?|yyyy|yy")
OF_A_NODE = re.compile(r"%[^%./]+\.[^%./]+%")


def filled(field: str, name: str, now: datetime | None = None, *, ending: str = "") -> str:
    """The name with its date filled in, and slashes between its folders: on Windows people type backslashes.

    Args:
        field: the input that holds the name, for messages.
        name: what the user typed.
        now: the date; by default the present.
        ending: what follows in the names of files, such as a number.

    Raises:
        ValueError: it is no text, a placeholder was not filled in, or the name cannot be that of a file on Windows.
    """
    if not isinstance(name, str):
        raise ValueError(f"{field} must be a text, got {name!r}: type one, or connect a node that gives one.")
    moment = now or datetime.now()
    whole = DATE.sub(lambda found: LETTERS.sub(lambda letters: _part(letters[0], moment), found[1]), name)
    unknown = OF_A_NODE.search(whole)
    if unknown:
        raise ValueError(
            f"{field} contains {unknown[0]}, which names no node and widget of the open workflow: correct it. Only ComfyUI's "
            "page fills in values of widgets; in names that come by a link or through the API, write the value itself."
        )
    bad = [letter for letter in FORBIDDEN if letter in whole]
    if bad:
        raise ValueError(f"{field} must not contain {' '.join(bad)}, which Windows forbids in names of files, got {name!r}.")
    whole = whole.replace("\\", "/")
    *folders, last = whole.split("/")
    devices = [part for part in folders if DEVICES.fullmatch(part)] + [last] * bool(DEVICES.fullmatch(last + ending))
    if devices:
        raise ValueError(f"{field} must not name {devices[0]!r}, a device on Windows, got {name!r}: choose another name.")
    if any(map(is_cut_to_nothing, (*folders, last))):
        raise ValueError(f"{field} must contain no name of dots and spaces alone, which Windows cuts off, got {name!r}.")
    if any(part.strip(".") and part != part.rstrip(". ") for part in folders):
        raise ValueError(f"{field} must name no folder that ends in a dot or space, which Windows cuts off, got {name!r}.")
    return whole


def _part(letters: str, now: datetime) -> str:
    values = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}
    if letters[0] == "y":
        return str(now.year)[-len(letters) :]
    return str(values[letters[0]]).zfill(len(letters))
