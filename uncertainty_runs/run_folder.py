"""The folder of a batch: images, maps and rows. Every file is complete or absent, and names follow from the plan."""

import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from uncertainty.choosing.rejecting import REJECTED
from uncertainty.scores import SCORES
from uncertainty.storage.atomic import UNFINISHED, write_whole
from uncertainty.storage.foreign import fields
from uncertainty.storage.in_use import discard
from uncertainty.storage.paths import file_below
from uncertainty.storage.rating import without_rating
from uncertainty.storage.records import ImageRecord
from uncertainty.storage.text_files import read_text

from .graph import MOST_VALUES
from .plan import Jobs
from .rows import EXTRA, NO_MAP, NUMBERS, TEXTS, File, Rows, record_in

IDENTITY = "run.json"
ROWS = "rows"
JOBS_A_FOLDER = 1000
READERS, FILES_A_READER = 8, 256
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL)  # EINVAL: as Windows says of forbidden letters


def image_of(number: int, place: int) -> str:
    """Path of an image, relative to the folder."""
    return f"images/{number // JOBS_A_FOLDER:05}/{number:07}_{place:03}.png"


def map_of(number: int) -> str:
    """Path of the map of a job, relative to the folder."""
    return f"maps/{number // JOBS_A_FOLDER:05}/{number:07}.safetensors"


def keep(folder: Path, name: str, content: bytes) -> File:
    """Write a file into the folder, and describe it."""
    write_whole(folder / name, content)
    return File.of(name, content)


class Missing:
    """Numbers of jobs in order, in one byte for each job of the plan.

    Args:
        done: 0 for each job that is missing, 1 for the others.
    """

    def __init__(self, done: bytearray) -> None:
        self._done = done

    def __len__(self) -> int:
        """How many there are."""
        return self._done.count(0)

    def __iter__(self) -> Iterator[int]:
        """The numbers."""
        return (number for number, is_done in enumerate(self._done) if not is_done)


class BatchFolder:
    """The folder of one plan.

    Args:
        path: the folder; it is made if it does not exist.
        jobs: the whole plan.

    Raises:
        ValueError: it belongs to another plan.
    """

    def __init__(self, path: Path, jobs: Jobs) -> None:
        self.path, self.jobs, self.rows = path, jobs, Rows(path / ROWS)
        about, identity = path / IDENTITY, jobs.identity()
        if not about.is_file():
            write_whole(about, json.dumps({"identity": identity, "first": jobs[0].graph}, indent=1).encode())
        elif _identity(about) != identity:
            raise ValueError(f"{path} holds images of another workflow, other prompts or other settings: give another folder.")

    def missing(self, *, verify: bool = False) -> "Missing":
        """Numbers of the jobs to run. Rows whose files are damaged or missing are removed.

        Args:
            verify: read every file and compare its checksum, not only its size.
        """
        self.rows.clean()
        done = bytearray(len(self.jobs))
        damaged: set[int] = set()
        with ThreadPoolExecutor(READERS) as readers:  # reading may wait for a network
            for number, is_whole in self._looked_at(readers, verify):
                if not is_whole:
                    damaged.add(number)
                elif number < len(done):
                    done[number] = 1
        if damaged:
            self.rows.remove(damaged)
        for number in damaged:
            if number < len(done):
                done[number] = 0
        return Missing(done)

    def _looked_at(self, readers: ThreadPoolExecutor, verify: bool) -> Iterator[tuple[int, bool]]:
        """For each row the number of its job, and whether its files are complete."""
        columns = ("number", *(f"{name}{what}" for name in ("file", "map") for what in ("", "_bytes", "_sha256")))
        for table in self.rows.batches(columns):
            lines = list(zip(*(table[name].to_pylist() for name in columns[1:]), strict=True))
            parts = [lines[start : start + FILES_A_READER] for start in range(0, len(lines), FILES_A_READER)]
            good = chain.from_iterable(readers.map(lambda part: [self._good(line, verify) for line in part], parts))
            yield from zip(table["number"].to_pylist(), good, strict=True)

    def _good(self, line: tuple[Any, ...], verify: bool) -> bool:
        """Whether image and map of a row are complete."""
        return self._whole(line[:3], verify) and self._whole(line[3:], verify)

    def _whole(self, file: tuple[str | None, int | None, str | None], verify: bool) -> bool:
        """Whether a file is as its row says, possibly in the folder for rejected files."""
        name, size, checksum = file
        if name is None:
            return True
        found = present(self.path, name)
        if found is None:
            return False
        if found.size == size:
            return not verify or found.sha256() == checksum
        try:
            content = without_rating(Path(found.path))  # stars were given to it in the sidebar
        except (OSError, ValueError):
            return False
        return len(content) == size and (not verify or hashlib.sha256(content).hexdigest() == checksum)

    def remove_unfinished(self) -> None:
        """Delete what killed workers left of files; call it while nobody writes."""
        for unfinished in self.path.rglob(f"*{UNFINISHED}"):
            discard(unfinished)

    def drawn(self) -> list[ImageRecord]:
        """All images of the plan, in order."""
        images = [image for image in read(self.path, self.rows) if image.number < len(self.jobs)]
        return sorted(images, key=lambda image: (image.number or 0, image.place))


def _identity(about: Path) -> str | None:
    """The identity that a folder holds; None if it is not the folder of a batch."""
    try:
        identity = fields(read_text(about), values=MOST_VALUES).get("identity")
    except ValueError:
        return None
    return identity if isinstance(identity, str) else None


def seconds(folder: Path) -> list[float]:
    """How long each job of a folder took."""
    table = Rows(folder / ROWS).table(("number", "seconds"))
    return list(dict(zip(table["number"].to_pylist(), table["seconds"].to_pylist(), strict=True)).values())


def without_scores(folder: Path, jobs: float = math.inf) -> str:
    """Says how many images of the first jobs of a folder have no scores, and why the first has none; empty if all have some."""
    lost = (
        (line["file"], line[NO_MAP])
        for table in Rows(folder / ROWS).batches(("number", "file", NO_MAP))
        for line in table.to_pylist()
        if line[NO_MAP] is not None and line["number"] < jobs
    )
    first = next(lost, None)
    if first is None:
        return ""
    (file, why), count = first, 1 + sum(1 for _ in lost)
    images, them, files = ("1 image", "it", "its file") if count == 1 else (f"{count} images", "them", "their files")
    return (
        f"{images} in {folder} {'has' if count == 1 else 'have'} no scores, such as {file}, because {why} To sample and measure "
        f"{them} again, delete {files} and start the same command again."
    )


def read(folder: Path, rows: Rows) -> Iterator[ImageRecord]:
    """The images in the rows of a folder, with the full paths of their files."""
    scores = [name for score in SCORES for name in (score, f"{score}_error")]
    for table in rows.batches((*NUMBERS, *TEXTS, "file", *scores, EXTRA)):
        for line in table.to_pylist():
            yield record_in(line, folder)


@dataclass(frozen=True)
class Present:
    """A file that is there.

    Attributes:
        path: its path, a text as ``file_below`` gives it.
        size: bytes.
        is_away: whether it is in the folder for rejected files.
    """

    path: str
    size: int
    is_away: bool

    def sha256(self) -> str:
        """Checksum of its content."""
        with open(self.path, "rb") as file:  # noqa: PTH123
            return hashlib.sha256(file.read()).hexdigest()


def present(folder: Path, name: str) -> Present | None:
    """A file of a folder at its place, or in the folder for rejected ones beside it; None if it is in neither, or outside."""
    path = file_below(folder, name)
    if path is None:
        return None
    above, file = os.path.split(path)
    for place, is_away in ((path, False), (os.path.join(above, REJECTED, file), True)):  # noqa: PTH118
        try:
            about = os.stat(place)  # noqa: PTH116
        except ValueError:  # no file can have this name
            continue
        except OSError as error:  # one that a network does not reach is not missing
            if error.errno not in NOT_THERE:
                raise
            continue
        if stat.S_ISREG(about.st_mode):
            return Present(place, about.st_size, is_away)
    return None
