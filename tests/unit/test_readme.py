"""The README's Python example runs as it is written and prints what its comment says; links in all texts lead somewhere."""

import contextlib
import io
import re
from pathlib import Path

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


NOT_OURS = (".venv", ".runtime", "node_modules")  # another ComfyUI has an environment beside the first
TEXTS = [
    path for path in sorted(ROOT.rglob("*.md")) if not any(part.startswith(NOT_OURS) for part in path.relative_to(ROOT).parts)
]
LINK = re.compile(r"""\]\(([^)\s#]+)[^)]*\)|src="([^"]+)\"""")


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(text: Path) -> None:
    links = {link or source for link, source in LINK.findall(text.read_text())}
    assert [link for link in sorted(links) if "://" not in link and not (text.parent / link).exists()] == []
