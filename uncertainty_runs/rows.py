"""One row per image, in Parquet files: its record, and the files that hold it. Needs pyarrow.

Each addition is a file of its own, named after its number. Several small files are merged into one, named after the first and
the last of their numbers. A file whose numbers lie within those of another is left from an interrupted merge, and is ignored. So
every row exists once, whenever a process is killed.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uncertainty.scores import SCORES
from uncertainty.storage.atomic import UNFINISHED, atomic_write
from uncertainty.storage.foreign import parsed
from uncertainty.storage.in_use import discard
from uncertainty.storage.records import ImageRecord, extra_fields, extra_scores

MERGED_AT_ONCE = 16
# Files are merged up to this size, in bytes: what Parquet keeps in memory grows with the size of a file.
LARGEST_MERGED = 4_000_000
NAME = re.compile(r"(\d{9})-(\d{9})\.parquet")
ROWS_AT_ONCE = 8192

# Fields of the record that a row has under the same names.
NUMBERS = ("number", "place", "seed")
NO_MAP = "why_no_map"
EXTRA = "extra_scores"  # JSON, because their names are the user's
TEXTS = ("prompt", "fingerprint", "model", "settings", "digest", "prompt_digest")


@dataclass(frozen=True)
class File:
    """A file of the folder: its path relative to the folder, its size in bytes, and its SHA-256."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "File":
        """The description of a file with this content."""
        return cls(name, len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Row:
    """One image of a batch.

    Attributes:
        record: the image with its scores; ``number`` is that of its job, ``file`` is relative to the folder of the batch.
        image: its file.
        map: the file of the job's map, if maps are kept.
        seconds: how long the job took.
        why_no_map: why the image has no scores; None if it has.
    """

    record: ImageRecord
    image: File
    map: File | None
    seconds: float
    why_no_map: str | None = None

    def flat(self) -> dict[str, Any]:
        """As a row of the table."""
        record = self.record
        flat: dict[str, Any] = {"id": f"{record.number:07}_{record.place:03}", "seconds": self.seconds, NO_MAP: self.why_no_map}
        flat |= {name: getattr(record, name) for name in (*NUMBERS, *TEXTS)}
        for name, file in (("file", self.image), ("map", self.map)):
            flat |= {name: file and file.name, f"{name}_bytes": file and file.size, f"{name}_sha256": file and file.sha256}
        for name in SCORES:
            flat[name], flat[f"{name}_error"] = record.scores.get(name, (None, None))
        return flat | {EXTRA: json.dumps(extra_fields(record.extra_scores)) if record.extra_scores else None}


def record_in(line: Mapping[str, Any], folder: Path | None = None) -> ImageRecord:
    """The record in a row of the table, with the columns that were read; ``folder`` makes its file a full path."""
    scores = {
        name: (line[name], math.nan if line.get(f"{name}_error") is None else line[f"{name}_error"])
        for name in SCORES
        if line.get(name) is not None
    }
    about: dict[str, Any] = {name: line.get(name) for name in (*NUMBERS, *TEXTS)}
    about |= {name: about[name] or default for name, default in (("fingerprint", ""), ("model", ""), ("place", 0), ("number", 0))}
    about["extra_scores"] = extra_scores(parsed(line[EXTRA])) if line.get(EXTRA) else {}
    file = line.get("file")
    return ImageRecord(**about, scores=scores, file=str(folder / file) if folder and file else file)


def check_library() -> None:
    """Report a missing package before hours of work.

    Raises:
        RuntimeError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise RuntimeError("rows are kept in Parquet files: pip install pyarrow, then start the same command again.") from error


class Rows:
    """The rows in a folder. It has one writer and any number of readers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._parts())

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows, all or none.

        Raises:
            OSError: the disk is full.
        """
        import pyarrow as pa

        parts = self._parts()
        number = parts[-1][1] + 1 if parts else 0
        table = pa.Table.from_pylist([row.flat() for row in rows], schema=_schema())
        self._write(number, number, [table])
        self._merge()

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Some columns of all rows, as pyarrow tables of a bounded size."""
        for path in self._paths():
            yield from _read(path, columns)

    def table(self, columns: Sequence[str]) -> Any:
        """Some columns of all rows, as one pyarrow table."""
        import pyarrow as pa

        empty = pa.schema([_schema().field(name) for name in columns]).empty_table()
        return pa.concat_tables([empty, *self.batches(columns)])

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove the rows of some jobs, so that they run again."""
        import pyarrow as pa
        import pyarrow.compute as pc

        gone = pa.array(sorted(set(numbers)), pa.int64())
        for first, last in self._parts():
            path = self._path(first, last)
            if any(pc.any(pc.is_in(part["number"], gone)).as_py() for part in _read(path, ["number"])):
                parts = _read(path, _schema().names)
                self._write(first, last, (part.filter(pc.invert(pc.is_in(part["number"], gone))) for part in parts))

    def _merge(self) -> None:
        """Merge the last files for as long as enough of them hold equally many additions, and little enough."""
        while True:
            parts = self._parts()
            last = parts[-MERGED_AT_ONCE:]
            if len(last) < MERGED_AT_ONCE or len({end - start for start, end in last}) > 1:
                return
            if sum(self._path(*piece).stat().st_size for piece in last) > LARGEST_MERGED:
                return
            start, end = last[0][0], last[-1][1]
            self._write(start, end, (part for piece in last for part in _read(self._path(*piece), _schema().names)))
            for piece in last:
                discard(self._path(*piece))  # one that is being read stays, and is ignored

    def _write(self, first: int, last: int, tables: Iterable[Any]) -> None:
        import pyarrow.parquet as pq

        with (
            atomic_write(self._path(first, last)) as unfinished,
            pq.ParquetWriter(unfinished, _schema(), compression="zstd") as writer,
        ):
            for table in tables:
                writer.write_table(table)

    def _parts(self) -> list[tuple[int, int]]:
        """Numbers of the files that count, in order."""
        if not self.folder.is_dir():
            return []
        found = (NAME.fullmatch(path.name) for path in self.folder.iterdir() if path.is_file())
        every = sorted(((int(match[1]), int(match[2])) for match in found if match), key=lambda part: (part[0], -part[1]))
        parts: list[tuple[int, int]] = []
        for first, last in every:
            if not parts or last > parts[-1][1]:
                parts.append((first, last))
        return parts

    def _paths(self) -> list[Path]:
        return [self._path(*part) for part in self._parts()]

    def _path(self, first: int, last: int) -> Path:
        return self.folder / f"{first:09}-{last:09}.parquet"

    def clean(self) -> None:
        """Delete what interrupted merges and writes left; for the one writer, when it starts."""
        keep = set(self._paths())
        for path in self.folder.glob(f"*.parquet.*{UNFINISHED}"):
            discard(path)
        for path in self.folder.glob("*.parquet"):
            if NAME.fullmatch(path.name) and path not in keep:
                discard(path)


def _read(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Columns of a file, in tables of a bounded size.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([_schema().field(name) for name in columns])
    try:
        with pq.ParquetFile(path) as file:
            # Columns that a file of an earlier version lacks are empty.
            present = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=present):
                table = pa.Table.from_batches([batch])
                parts = [
                    table[name].cast(schema.field(name).type)
                    if name in present
                    else pa.nulls(len(batch), schema.field(name).type)
                    for name in columns
                ]
                yield pa.Table.from_arrays(parts, schema=schema)
    except pa.ArrowException as error:
        raise ValueError(
            f"{path.name} is no readable Parquet file ({error}): delete it, then the same batch command draws again what it held."
        ) from error


def _schema() -> Any:
    import pyarrow as pa

    columns = [pa.field("id", pa.string()), pa.field("number", pa.int64()), pa.field("place", pa.int32())]
    columns += [pa.field("seed", pa.uint64()), pa.field("seconds", pa.float64())]
    columns += [pa.field(name, pa.string()) for name in TEXTS]  # Parquet stores a text that repeats once
    for name in ("file", "map"):
        columns += [pa.field(name, pa.string()), pa.field(f"{name}_bytes", pa.int64()), pa.field(f"{name}_sha256", pa.string())]
    columns += [pa.field(name, pa.float64()) for score in SCORES for name in (score, f"{score}_error")]
    columns += [pa.field(EXTRA, pa.string()), pa.field(NO_MAP, pa.string())]
    return pa.schema(columns)
