"""Scores, prompt and workflow in PNG, WebP and JPEG files, read by this pack and by other programs."""

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from made_maps import made
from uncertainty.storage import picture_entry, picture_files
from uncertainty.storage.picture_files import FORMATS, SUFFIXES, Part

PROMPT = json.dumps({"1": {"inputs": {"text": 'ein "Kätzchen", 猫'}}})
# Longer than one segment of a JPEG file.
WORKFLOW = json.dumps({"nodes": ["x" * 40] * 4000})
OF_COMFYUI = {"prompt": 0x0110, "workflow": 0x010F}


def noise(width: int = 33, height: int = 17, channels: int = 3) -> Tensor:
    return torch.rand(height, width, channels, generator=torch.Generator().manual_seed(0))


def save(folder: Path, kind: str, picture: Tensor | None = None, **texts: str) -> Path:
    path = folder / f"a{SUFFIXES[kind]}"
    path.write_bytes(picture_entry.content(noise() if picture is None else picture, texts, kind))
    return path


def parts(content: bytes) -> list[Part]:
    return list(picture_files.parts(io.BytesIO(content), 1000))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_holds_scores_map_and_workflow(tmp_path: Path, kind: str) -> None:
    entry = picture_entry.entry(made(2), 1)
    path = save(tmp_path, kind, prompt=PROMPT, workflow=WORKFLOW, uncertainty=entry)
    assert picture_entry.text(path, "prompt") == PROMPT and picture_entry.text(path, "workflow") == WORKFLOW
    known, small = picture_entry.read(path), picture_entry.read_map(path)
    assert known is not None and known.place == 1 and known.scores and known.file == path.name
    assert small is not None and small.max() == 1
    assert picture_entry.text(path, "else") is None
    bare = save(tmp_path, kind)
    assert picture_entry.read(bare) is None and picture_entry.read_map(bare) is None


@pytest.mark.parametrize("kind", ["webp", "jpeg"])
@pytest.mark.parametrize("workflow", ["{}", WORKFLOW])
def test_another_program_finds_the_texts_where_comfyui_writes_them(tmp_path: Path, kind: str, workflow: str) -> None:
    with Image.open(save(tmp_path, kind, prompt=PROMPT, workflow=workflow, other="1")) as image:
        fields = image.getexif()
    assert {name: fields[tag] for name, tag in OF_COMFYUI.items()} == {
        "prompt": f"prompt:{PROMPT}",
        "workflow": f"workflow:{workflow}",
    }
    assert len(fields) == 3 and 0x010E not in fields  # the picture's caption


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_png_and_webp_keep_every_pixel(tmp_path: Path, kind: str, channels: int) -> None:
    picture = noise(channels=channels)
    with Image.open(save(tmp_path, kind, picture, prompt=PROMPT)) as image:
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(picture.shape)
    assert torch.equal(pixels, (picture * 255).byte())


def test_the_texts_of_a_webp_file_stand_before_its_pixels() -> None:
    """ComfyUI's front-end 1.32.9 does not skip the byte that fills up a chunk of odd length."""
    lengths = set()
    for width in range(8, 24):
        head, texts, pixels = parts(picture_entry.content(noise(width), {"workflow": "{}"}, "webp"))
        assert (head.kind, head.length, texts.kind, pixels.kind) == (b"VP8X", 10, b"EXIF", b"VP8L")
        lengths.add(pixels.length % 2)
    assert lengths == {0, 1}


@pytest.mark.parametrize(
    ("kind", "picture", "words"),
    [
        (
            "webp",
            torch.zeros(1, 16384, 3),
            "format webp holds at most 16383 pixels a side, but images are 16384 x 1: choose png",
        ),
        (
            "jpeg",
            torch.zeros(65501, 1, 3),
            "format jpeg holds at most 65500 pixels a side, but images are 1 x 65501: choose png",
        ),
        ("jpeg", torch.zeros(2, 2, 4), "format jpeg holds no transparency, but the images have it: choose png or webp"),
    ],
)
def test_a_picture_that_a_format_cannot_hold_is_refused(kind: str, picture: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        picture_entry.content(picture, {}, kind)


def damaged(kind: str) -> dict[str, bytes]:
    """By what is wrong with them, files of a format."""
    whole = picture_entry.content(noise(), {"prompt": PROMPT}, kind)
    exif = whole.index(b"II*\0") if b"II*\0" in whole else whole.index(b"MM\0*")
    many = picture_files.segment(b"x") if kind == "jpeg" else picture_files.chunk(b"abcd", b"")
    start = 2 if kind == "jpeg" else 12
    stuffed = whole[:start] + many * 10_001 + whole[start:]
    if kind == "webp":
        stuffed = stuffed[:4] + (len(stuffed) - 8).to_bytes(4, "little") + stuffed[8:]
    return {
        "is incomplete": whole[: exif + 30],
        "has a damaged EXIF block": whole[:exif] + b"NOPE" + whole[exif + 4 :],
        "has an EXIF block of more than 100 fields": whole[: exif + 8] + b"\xff\xff" + whole[exif + 10 :],
        "has more than 10000 parts": stuffed,
    }


@pytest.mark.parametrize("kind", ["webp", "jpeg"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    for words, content in damaged(kind).items():
        path = tmp_path / f"a{SUFFIXES[kind]}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^{path.name} is damaged \(it {words}\)\.$"):
            picture_entry.read(path)


def test_a_jpeg_file_whose_segments_do_not_end_is_named(tmp_path: Path) -> None:
    for content in (b"\xff\xd8\xff\xe1\0\0", b"\xff\xd8garbage", b"\xff\xd8"):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.jpg is damaged \(it is (damaged|incomplete)\)"):
            picture_entry.read(tmp_path / "a.jpg")
