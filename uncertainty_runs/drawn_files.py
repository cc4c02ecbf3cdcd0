"""The files of a finished job before they are written. They may come from another machine; one function writes them all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uncertainty.storage.atomic import write_whole

from .rows import File, Row


class NotKept(OSError):
    """The files of a job cannot be written; the message names the job and says why."""


@dataclass(frozen=True)
class Drawn:
    """What a job made.

    Attributes:
        rows: one per image, in order; they describe the files.
        contents: the bytes of each file, by its name in the folder of the batch.
    """

    rows: list[Row]
    contents: Mapping[str, bytes]

    def keep(self, folder: Path) -> list[Row]:
        """Write the files, each of them complete or not at all, and return the rows.

        Raises:
            NotKept: a file cannot be written, or arrived with another size or checksum than its row says.
        """
        first = self.rows[0].record
        try:
            for file in self._files():
                content = self.contents[file.name]
                if File.of(file.name, content) != file:
                    raise OSError(f"{file.name} arrived damaged: start the same command again")
                write_whole(folder / file.name, content)
        except OSError as error:
            raise NotKept(
                f"the files of run {first.number} (seed {first.seed}) cannot be kept: {str(error).rstrip('.')}."
            ) from error
        return self.rows

    def _files(self) -> list[File]:
        """Every file once: images, and the map that they share."""
        files = [file for row in self.rows for file in (row.map, row.image) if file is not None]
        return list(dict.fromkeys(files))
