"""What others wrote reaches the terminal as text only, and what others made in a folder does not stop a command."""

import ast
import os
from pathlib import Path

import pytest
from test_rank import save

from called import called
from dev.bootstrap import ROOT
from made_maps import made
from uncertainty.storage import picture_entry
from uncertainty_runs.terminal import printable, printable_lines

HOSTILE = "a\x1b[2J\x9b31m\r\x07\u202egnp\u2028\udcff"


def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Everything that a command prints."""
    failed = called(monkeypatch, *arguments)
    told = capfd.readouterr()
    return told.out + told.err + failed


def test_control_characters_are_escaped() -> None:
    assert printable(HOSTILE) == r"a\x1b[2J\x9b31m\r\x07\u202egnp\u2028\udcff"
    assert printable("two\nlines\t") == r"two\nlines\t"
    assert printable_lines("two\nlines\x1b") == "two\nlines\\x1b"
    assert printable("Kätzchen 猫 👩\u200d🚀 ±") == "Kätzchen 猫 👩\u200d🚀 ±"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize(
    "arguments",
    [
        ("rank", "{folder}"),
        ("rank", "{folder}", "--keep", "1", "--move"),
        ("rank", "{folder}/" + HOSTILE),
        ("rank", HOSTILE, HOSTILE),
        ("record", "{folder}/" + HOSTILE),
        ("batch", "--workflow", HOSTILE, "--output", HOSTILE, "--count", "1", "--comfyui", HOSTILE),
    ],
)
def test_no_command_prints_control_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    for image, name in enumerate((f"{HOSTILE}.png", f"b{HOSTILE}\n.png")):
        save(folder / name, picture_entry.entry(made(2), image))
    (folder / f"no{HOSTILE}.png").write_bytes(b"no PNG")
    told = run(monkeypatch, capfd, *(argument.format(folder=folder) for argument in arguments))
    assert r"a\x1b[2J" in told
    assert told.isprintable() or all(printable_lines(line) == line for line in told.split("\n"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_only_regular_files_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "a.png", picture_entry.entry(made(1), 0))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    told = run(monkeypatch, capfd, "rank", tmp_path)
    for name in ("pipe", "device", "loop"):
        assert f"left out: {name}.png is not a regular file." in told
    assert "a.png " in told
    (tmp_path / "rows").mkdir()
    os.mkfifo(tmp_path / "rows" / "000000000-000000000.parquet")
    assert "no image in" in run(monkeypatch, capfd, "rank", tmp_path)


def test_commands_print_in_one_way() -> None:
    """Nothing of the package prints past the function that escapes."""
    for path in (ROOT / "uncertainty_runs").rglob("*.py"):
        if path.name != "terminal.py":
            calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
            assert not [
                node.lineno for node in calls if ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
            ], path
