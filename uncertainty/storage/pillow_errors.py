"""Pillow's errors about a picture file, in words that name it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError


@contextmanager
def named(path: Path, wanted: str) -> Iterator[None]:
    """Turn errors into those that name the file without its folder, and what it should be: ``wanted``.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not what is wanted, is damaged, or has more pixels than Pillow's limit.
    """
    try:
        yield
    except UnidentifiedImageError as error:  # whose message has the whole path
        raise ValueError(f"{path.name} is not a readable {wanted}.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} has more pixels than Pillow's limit.") from error
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path.name} is damaged ({str(error).rstrip('.')}).") from error
    except OSError as error:
        raise OSError(f"{path.name} cannot be read ({error.strerror or error}).") from error
