"""The command line as it is read, before anything runs."""

from pathlib import Path

import pytest

from uncertainty_runs.command_line import parser


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
