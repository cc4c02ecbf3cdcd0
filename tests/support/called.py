"""Commands of the pack, called in this process."""

import sys

import pytest

from uncertainty_runs import command_line


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run ``uncertainty`` with these arguments; returns what it failed with, empty if it did not."""
    monkeypatch.setattr(sys, "argv", ["uncertainty", *map(str, arguments)])
    try:
        command_line.main()
    except SystemExit as end:
        return str(end.code or "")
    return ""
