"""The route of the views' temporary files."""

import urllib.parse
import urllib.request

import pytest

from dev.server import ComfyServer
from patience import LIMIT_SECONDS


def answer(server: ComfyServer, name: str) -> tuple[int, bytes]:
    """Status and body."""
    quoted = urllib.parse.quote(name, safe="")
    with urllib.request.urlopen(f"{server.url}/uncertainty/temporary/{quoted}", timeout=LIMIT_SECONDS) as response:
        return response.status, response.read()


@pytest.mark.parametrize("suffix", ["json", "safetensors", "png", "jpg", "webp"])
def test_a_file_that_is_there_is_sent(server: ComfyServer, suffix: str) -> None:
    folder = server.base / "temp" / "uncertainty"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"route_test.{suffix}").write_text("[1]")
    assert answer(server, f"route_test.{suffix}") == (200, b"[1]")


@pytest.mark.parametrize("name", ["gone.json", "..", "../outside.json", "..\\outside.json", "sub/inside.json"])
def test_anything_else_is_nothing(server: ComfyServer, name: str) -> None:
    outside = server.base / "temp" / "outside.json"
    inside = server.base / "temp" / "uncertainty" / "sub" / "inside.json"
    inside.parent.mkdir(parents=True, exist_ok=True)
    for file in (outside, inside):
        file.write_text("[2]")
    assert answer(server, name) == (204, b"")


def test_a_page_that_was_uploaded_there_is_not_shown(server: ComfyServer) -> None:
    folder = server.base / "temp" / "uncertainty"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("page.html", "picture.svg", "bare"):
        (folder / name).write_text("<script>1</script>")
        assert answer(server, name) == (204, b"")
