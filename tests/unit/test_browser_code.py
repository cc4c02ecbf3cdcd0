"""What holds for the browser code as a whole; its types are checked by dev/typecheck.py."""

import re
from pathlib import Path

import pytest

from dev.bootstrap import ROOT
from dev.typecheck import TYPES, install

WEB = ROOT / "web"
OURS = sorted(path for path in WEB.rglob("*.js") if "vendor" not in path.parts)
CONTACTS = (
    "scripts/app.js",
    "scripts/api.js",
    "window.app",
    "window.comfyAPI",
    "LiteGraph",
    "extensionManager",
    "registerExtension",
)


@pytest.mark.parametrize("file", OURS, ids=lambda path: str(path.relative_to(WEB)))
def test_only_the_adapter_touches_the_front_end(file: Path) -> None:
    if file.name != "adapter.js":
        assert [word for word in CONTACTS if word in file.read_text()] == []


@pytest.mark.parametrize("file", [*OURS, *WEB.rglob("*.css")], ids=lambda path: str(path.relative_to(WEB)))
def test_nothing_comes_from_the_network(file: Path) -> None:
    text = re.sub(r"/\*.*?\*/|^\s*//.*$", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"https?://|//[a-z]+\.|\beval\(|new Function\(|\.innerHTML\b", text)


VENDORED = {
    "uPlot": (
        "uplot",
        {
            "uPlot.esm.js": "dist/uPlot.esm.js",
            "uPlot.min.css": "dist/uPlot.min.css",
            "uPlot.esm.d.ts": "dist/uPlot.d.ts",
            "LICENSE": "LICENSE",
        },
    ),
    "panzoom": (
        "@panzoom/panzoom",
        {
            "panzoom.es.js": "dist/panzoom.es.js",
            "panzoom.es.d.ts": "dist/src/panzoom.d.ts",
            "types.d.ts": "dist/src/types.d.ts",
            "css.d.ts": "dist/src/css.d.ts",
            "MIT-License.txt": "MIT-License.txt",
        },
    ),
}


def test_what_is_vendored_is_what_was_published() -> None:
    install()
    assert {path.name for path in (WEB / "vendor").iterdir()} == set(VENDORED)
    for folder, (name, pairs) in VENDORED.items():
        package, vendored = TYPES / "node_modules" / name, WEB / "vendor" / folder
        assert {path.name for path in vendored.iterdir()} == set(pairs)
        for ours, theirs in pairs.items():
            assert (vendored / ours).read_bytes() == (package / theirs).read_bytes(), ours
