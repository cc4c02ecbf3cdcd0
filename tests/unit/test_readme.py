"""The README's Python example runs as it is written and prints what its comment says."""

import contextlib
import io
import re

import pytest
import torch

from dev.bootstrap import ROOT

EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_example_in_python_runs() -> None:
    text = (ROOT / "README.md").read_text()
    (code,) = EXAMPLE.findall(text)
    torch.manual_seed(0)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})  # noqa: S102
    said = re.findall(r"print\(.*\)  # (\S+?):?(?: |$)", code)
    assert said
    assert [float(line) for line in re.findall(r"-?\d+\.\d+", printed.getvalue())] == [
        pytest.approx(float(x), abs=0.1) for x in said
    ]
