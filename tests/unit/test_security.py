"""What no code of the pack does: run other programs, evaluate text, unpickle, reach the network, put text into a page as HTML."""

import ast
import re
from pathlib import Path

import pytest
from test_house import installed

from dev.bootstrap import ROOT

PYTHON = [name for name in installed() if name.endswith(".py")]
SCRIPTS = [name for name in installed() if name.endswith(".js")]
PROGRAMS = {"subprocess", "multiprocessing", "pty", "ctypes", "cffi", "code", "runpy", "pip", "importlib"}
NETWORK = {"socket", "socketserver", "http", "urllib", "urllib3", "requests", "httpx", "ftplib", "smtplib", "xmlrpc", "aiohttp"}
CODE_IN_DATA = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}
EVALUATED = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
SYSTEM = {"system", "popen", "execv", "execve", "spawnl", "spawnv", "fork", "forkpty", "startfile"}
# Each with its reason.
ALLOWED = {
    "uncertainty_runs/engines/http_server.py": {"urllib"},  # a command of the user's, to the server that the user names
    "uncertainty_runs/engines/ray_cluster.py": {"socket"},  # whether anything answers at the address that the user names
    "uncertainty_runs/shared_package.py": {"importlib"},  # gives ComfyUI the modules of this process
    "uncertainty/metrics/features.py": {"importlib"},  # --features package.module:name
    "nodes/choosing/ledger_routes.py": {"aiohttp"},  # answers of the routes
    "nodes/choosing/library_page.py": {"aiohttp"},
    "nodes/choosing/library_pictures.py": {"aiohttp"},
    "nodes/choosing/request_body.py": {"aiohttp"},
    "nodes/view_route.py": {"aiohttp"},
    "paper_models/load.py": {"pickle"},  # the name of an error
}


def imports(tree: ast.AST) -> set[str]:
    """Top-level modules, wherever they are imported."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("name", PYTHON)
def test_python_does_nothing_of_this(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text())
    assert imports(tree) & (PROGRAMS | NETWORK | CODE_IN_DATA) <= ALLOWED.get(name, set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in EVALUATED, f"{name}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in SYSTEM, f"{name}:{node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert given.get("weights_only") == "True", f"{name}:{node.lineno} can run code of the file"


def test_numpy_files_hold_no_objects() -> None:
    for name in PYTHON:
        assert "allow_pickle=True" not in (ROOT / name).read_text(), name


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_put_no_text_into_a_page_as_html(name: str) -> None:
    text = (ROOT / name).read_text()
    forbidden = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", 'setAttribute("on')
    assert [word for word in forbidden if word in text] == []
    # Comments name sources; code asks ComfyUI alone.
    assert re.findall(r"(?:fetch|import|from|WebSocket|EventSource)\s*\(?\s*[\"'`]https?:", text) == []


def test_every_allowance_is_used() -> None:
    for name, modules in ALLOWED.items():
        assert modules <= imports(ast.parse(Path(ROOT / name).read_text())), name
