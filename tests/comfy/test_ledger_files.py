"""Which file belongs to which row of the ledger, and the answers of the routes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from made_maps import made


def test_an_image_does_not_take_over_the_file_of_another(
    pack: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image is rejected, a later image gets its name, and then the rejected file is deleted."""
    routes = pack("nodes.choosing.ledger_routes")
    monkeypatch.setattr(routes.ledger_access, "output", lambda: tmp_path)
    ledger = pack("uncertainty.storage.ledger").Ledger(tmp_path / "ledger.sqlite3")
    file = tmp_path / "a.png"
    newest = pack("uncertainty.storage.ledger_query").Query()
    for seed, text in enumerate(("first", "second")):
        file.write_text(text)
        ledger.record(made(1, seed), ["a.png"])
        if seed == 0:
            routes.reject(ledger, ledger.page(newest).images[0])
    (second, first) = ledger.page(newest).images
    assert (first.file, second.file) == ("rejected/a.png", "a.png")
    (tmp_path / first.file).unlink()
    assert routes._healed(ledger, first) == first
    with pytest.raises(FileNotFoundError):
        routes.restore(ledger, first)
    assert file.read_text() == "second"
    # Without the later image, the file is the rejected one, moved by the user.
    ledger.moved(second.id, "b.png", rejected=False)
    assert routes._healed(ledger, first).file == "a.png"


def test_numbers_that_no_ledger_holds_are_refused(
    pack: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = pack("nodes.choosing.ledger_routes")
    ledger = pack("uncertainty.storage.ledger").Ledger(tmp_path / "ledger.sqlite3")
    monkeypatch.setattr(routes.ledger_access, "ledger", lambda: ledger)
    huge = str(1 << 70)
    for answer, request in (
        (routes.heatmap, SimpleNamespace(match_info={"id": huge})),
        (routes.rows, SimpleNamespace(query={"after": f"[1, {huge}]"})),
        (routes.rows, SimpleNamespace(query={"after": "[1, 1e400]"})),
    ):
        assert asyncio.run(routes._in_words(answer)(request)).status == 400
