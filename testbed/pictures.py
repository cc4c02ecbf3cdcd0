"""Training pictures in four styles: the emoji of the demo model without flags, as Noto, Twemoji, Fluent 3D and Blob draw them.

Every input is an npm package of a fixed version and digest. A picture is held out if its emoji is one of the demo model's
held-out ones, in every style, or if it is its emoji's turn: every eighth emoji lacks one style, which moves on each time.
"""

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from demo import data
from demo.data import Archive, Picture

TWEMOJI = Archive(
    "emoji-datasource-twitter@16.0.0",
    "emoji-datasource-twitter-16.0.0.tgz",
    "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
)
FLUENT = Archive(
    "@lobehub/fluent-emoji-3d@1.1.0",
    "lobehub-fluent-emoji-3d-1.1.0.tgz",
    "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
)
BLOB = Archive(
    "@iconify-json/noto-v1@1.2.5",
    "iconify-json-noto-v1-1.2.5.tgz",
    "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
)
# Names of emoji as the Blob package writes them.
NAMES = Archive(
    "unicode-emoji-json@0.9.0",
    "unicode-emoji-json-0.9.0.tgz",
    "ae7efacb55533385bf8767d613dbd36c71226669759d95919a6e9059f5e4c401",
)
LACKING_EVERY = 8


@dataclass(frozen=True)
class Style:
    """A designer's set: the word of captions that asks for it, its package, its licence, and how to read one emoji from it."""

    word: str
    archive: Archive
    licence: str
    read: Callable[[tarfile.TarFile, dict], bytes | None]


@dataclass(frozen=True)
class StyledPicture(Picture):
    """A picture with the word of its style."""

    style: str = ""


def _png(folder: str) -> Callable[[tarfile.TarFile, dict], bytes | None]:
    def read(tar: tarfile.TarFile, entry: dict) -> bytes | None:
        return data.content(tar, f"package/img/{folder}/64/{entry['image']}")

    return read


def _webp(tar: tarfile.TarFile, entry: dict) -> bytes | None:
    code = entry["unified"].lower()
    return data.content(tar, f"package/assets/{code}.webp")


class _Blobs:
    """Reads the Blob package, one JSON file of drawings that are named, not numbered. Loaded once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.icons: dict[str, dict] | None = None

    def __call__(self, tar: tarfile.TarFile, entry: dict) -> bytes | None:
        from resvg_py import svg_to_bytes

        if self.icons is None:
            with data.opened(data.download(self.folder, NAMES)) as names:
                self.names = json.loads(NAMES.member(names, "package/data-by-emoji.json"))
            loaded = json.loads(BLOB.member(tar, "package/icons.json"))
            self.icons, self.size = loaded["icons"], (loaded.get("width", 16), loaded.get("height", 16))
        emoji = "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))
        slug = self.names.get(emoji, {}).get("slug", "").replace("_", "-")
        icon = self.icons.get(slug)
        if icon is None:
            return None
        width, height = icon.get("width", self.size[0]), icon.get("height", self.size[1])
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        return svg_to_bytes(svg_string=svg, width=data.SIZE, height=data.SIZE)


def styles(folder: Path) -> tuple[Style, ...]:
    """The four styles; ``folder`` is where the packages are kept."""
    return (
        Style("noto", data.NOTO, "Apache-2.0", _png("google")),
        Style("twemoji", TWEMOJI, "CC-BY-4.0", _png("twitter")),
        Style("fluent", FLUENT, "MIT", _webp),
        Style("blob", BLOB, "Apache-2.0", _Blobs(folder)),
    )


def packages(folder: Path) -> list[str]:
    """The packages of the four styles, with their versions."""
    return [style.archive.package for style in styles(folder)]


def load(folder: Path) -> list[StyledPicture]:
    """All pictures, emoji by emoji and style by style.

    Raises:
        RuntimeError: a package cannot be downloaded, or has the wrong digest.
    """
    return list(_pictures(folder))


def _pictures(folder: Path) -> Iterator[StyledPicture]:
    with data.opened(data.download(folder)) as noto:
        chosen = [(entry, data.is_held_out(index)) for index, entry in enumerate(data.selected(noto))]
    chosen = [(entry, unknown) for entry, unknown in chosen if entry["category"] != "Flags"]
    for number, style in enumerate(styles(folder)):
        with data.opened(data.download(folder, style.archive)) as tar:
            for index, (entry, unknown) in enumerate(chosen):
                drawn = style.read(tar, entry)
                if drawn is None:
                    continue
                lacking = index % LACKING_EVERY == LACKING_EVERY - 1 and index // LACKING_EVERY % 4 == number
                picture = data.picture_of(entry, data.pixels_of(drawn), unknown or lacking)
                yield StyledPicture(**vars(picture), style=style.word)


def moved(pixels: Tensor, mirrored: Tensor, rng: torch.Generator) -> Tensor:
    """Shrink by up to a third, turn by up to 20°, move within the frame and mirror: every copy is a right one.

    Pixels (B, 3, 64, 64) in [-1, 1] on white.
    """
    count = len(pixels)
    scale = 1 / (1 - torch.rand(count, generator=rng) / 3)
    angle = (torch.rand(count, generator=rng) * 2 - 1) * 0.35
    flip = torch.where(mirrored & (torch.rand(count, generator=rng) < 0.5), -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = scale * torch.cos(angle) * flip, -scale * torch.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = scale * torch.sin(angle) * flip, scale * torch.cos(angle)
    theta[:, :, 2] = (torch.rand(count, 2, generator=rng) * 2 - 1) * (scale - 1)[:, None]
    grid = affine_grid(theta, list(pixels.shape), align_corners=False)
    return grid_sample(pixels - 1, grid, align_corners=False) + 1
