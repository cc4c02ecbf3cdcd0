"""The command line as it is read, before anything runs."""

import argparse
import sys
from pathlib import Path

import pytest

from uncertainty_runs.comfyui import default_comfyui
from uncertainty_runs.command_line import main, parser
from uncertainty_runs.given_paths import check_given


@pytest.mark.parametrize(
    "line",
    [
        "record night --comfyui ComfyUI -- --output-directory out --cpu",
        "record --comfyui ComfyUI night -- --output-directory out --cpu",
        "batch --workflow f --output o --comfyui ComfyUI -- --output-directory out --cpu",
        "evaluate course --comfyui ComfyUI --workflow f -- --output-directory out --cpu",
    ],
)
def test_comfyuis_own_options_stand_behind_two_dashes(line: str) -> None:
    read = parser().parse_args(line.split())
    assert read.options == ["--output-directory", "out", "--cpu"]
    assert read.comfyui == Path("ComfyUI")


def test_without_them_there_are_none() -> None:
    assert parser().parse_args(["record", "night"]).options == []
    assert parser().parse_args(["rank", "--", "-folder"]).folder == Path("-folder")


def test_other_words_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["record", "night", "day"])
    assert "unrecognized arguments: day" in capsys.readouterr().err


def said(monkeypatch: pytest.MonkeyPatch, *line: object) -> str:
    """The error that a command line ends with."""
    monkeypatch.setattr(sys, "argv", ["uncertainty", *map(str, line)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return str(stopped.value.code)


@pytest.mark.parametrize(
    "line",
    [
        *(["batch", "--workflow", "f", "--output", "o", option, ""] for option in ("--address", "--prompts", "--comfyui")),
        *(["evaluate", "course", "--workflow", "f", option, ""] for option in ("--address", "--server", "--out", "--reference")),
        *([command, ""] for command in ("rank", "record")),
        ["batch", "--workflow", "f", "--output", " "],
        ["batch", "--workflow", "", "--output", "o"],
    ],
    ids=" ".join,
)
def test_an_unset_variable_is_no_value(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(line)
    empty = next(place for place, word in enumerate(line) if not word.strip())
    name = {"rank": "folder", "record": "DIR"}.get(line[empty - 1], line[empty - 1])
    shown = capsys.readouterr().err
    assert f"error: argument {name}: " in shown
    assert "must not be empty: set the variable that it comes from, or leave it out." in shown


@pytest.mark.parametrize("command", [["batch", "--count", 4], ["evaluate", "filtering"]], ids=["batch", "evaluate"])
def test_a_file_or_folder_that_is_not_there_is_named_with_its_option(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, none = tmp_path / "there.json", tmp_path / "none"
    there.write_text("{}")
    output = "--output" if "batch" in command else "--out"
    line = [*command, "--workflow", there, output, tmp_path / "new" / "out"]
    for more, reason in (
        (["--workflow", none], f"--workflow {none}: there is no such file; give a file that File → Export (API) saved."),
        (["--workflow", tmp_path], f"--workflow {tmp_path}: it is a folder; give a file that File → Export (API) saved."),
        (["--prompts", none], f"--prompts {none}: there is no such file; give a text file with one prompt per line."),
        ([output, there], f"{output} {there}: it is a file; give a folder, which may be a new one."),
        ([output, there / "in"], f"{output} {there / 'in'}: {there} is a file; give a folder, which may be a new one."),
    ):
        assert said(monkeypatch, *line, *more) == f"error: {reason}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.json"]


def test_a_drive_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    with pytest.raises(ValueError, match="--output /night: there is no /; give a folder, which may be a new one"):
        check_given(argparse.Namespace(output=Path("/night")))


@pytest.mark.parametrize(("name", "reason"), [("none", "there is no such folder"), ("there.json", "it is no folder")])
def test_pictures_are_looked_for_before_anything_is_sampled(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there.json").write_text("{}")
    line = ["evaluate", "course", "--workflow", tmp_path / "there.json", "--reference", tmp_path / name]
    assert said(monkeypatch, *line) == f"error: --reference {tmp_path / name}: {reason}; give a folder of real pictures."


def test_a_folder_without_pictures_is_refused_before_anything_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.json").write_text("{}")
    line = ["evaluate", "course", "--workflow", tmp_path / "there.json", "--reference", tmp_path / "empty"]
    assert f"reference: {tmp_path / 'empty'} has no pictures" in said(monkeypatch, *line)


def test_a_variable_that_leads_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(
        ValueError, match=f"COMFYUI_PATH must be the folder that holds ComfyUI's main.py, got {tmp_path}: correct"
    ):
        default_comfyui()
