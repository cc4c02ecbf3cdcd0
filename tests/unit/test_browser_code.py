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
    if file.parent != WEB / "adapter":
        assert [word for word in CONTACTS if word in file.read_text()] == []


def reached(file: Path, known: frozenset[Path] = frozenset()) -> frozenset[Path]:
    """A script and all that it imports, directly or not."""
    known |= {file}
    for found in re.findall(r'^import [^;]*?"(\.[^"]+)";$', file.read_text(), flags=re.MULTILINE):
        other = (file.parent / found).resolve()
        if other not in known and other.is_relative_to(WEB):  # not ComfyUI's own
            known = reached(other, known)
    return known


def test_the_librarys_own_page_needs_no_front_end() -> None:
    scripts = reached(WEB / "ledger" / "page.js")
    assert {WEB / "culling" / "view.js", WEB / "shared" / "server.js"} < scripts
    assert not any(script.parent == WEB / "adapter" for script in scripts)
    assert WEB / "adapter" / "runs.js" in reached(WEB / "ledger" / "tab.js")


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
