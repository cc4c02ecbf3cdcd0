"""Ledgers of earlier versions are brought up to date without losing a row; newer ones are refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_killed import killed_at_every_line

from dev.bootstrap import ROOT
from made_maps import made
from uncertainty.storage import migrations
from uncertainty.storage.ledger import Ledger
from uncertainty.storage.ledger_file import LedgerError
from uncertainty.storage.ledger_query import Query

# As the first version wrote it: three saved images of one setting, two of another that were not saved.
FIRST = ROOT / "tests" / "fixtures" / "ledger" / "version-1.sql"


def write_first(path: Path) -> None:
    """A ledger of the first version, in the place of what is there."""
    for old in path.parent.glob(f"{path.stem}*"):
        old.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST.read_text())


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A ledger of the first version."""
    path = tmp_path / "ledger.sqlite3"
    write_first(path)
    return path


def rows(path: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT digest, seed, place, denoised_variance, file FROM images ORDER BY id").fetchall()


def schema(path: Path) -> dict[str, set[str]]:
    """Columns of each table, and the names of the indexes."""
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")} for name in tables}
        return found | {"indexes": {n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}}


def test_every_row_of_the_first_version_is_kept(first: Path) -> None:
    before = rows(first)
    with pytest.raises(LedgerError, match="older version"):
        Ledger(first).page(Query())
    assert rows(first) == before  # to ask changes nothing
    Ledger(first).upgrade()
    page = Ledger(first).page(Query(sort="score", order="asc"))
    assert rows(first) == before and len(before) == 5
    assert [image.file for image in page.images] == ["a/0.png", "a/1.png", "a/2.png"]
    assert {image.prompt_digest for image in page.images} == {"p"}
    score = made(3).score("denoised_variance")
    assert [image.score("denoised_variance") for image in page.images] == pytest.approx(score.value.tolist())


def test_prompts_are_numbered_by_first_use(first: Path) -> None:
    with sqlite3.connect(first) as connection:
        connection.execute("UPDATE images SET prompt = 'a' WHERE id >= 3")
    Ledger(first).upgrade()
    with sqlite3.connect(first) as connection:
        assert connection.execute("SELECT number, digest, text FROM prompts").fetchall() == [(1, "p", None), (2, "a", None)]


def test_what_was_moved_away_is_rejected_by_hand(first: Path) -> None:
    with sqlite3.connect(first) as connection:
        connection.execute("UPDATE images SET rejected = 1, file = 'a/rejected/1.png' WHERE id = 2")
    Ledger(first).upgrade()
    images = Ledger(first).page(Query(sort="score", order="asc")).images
    assert [(image.state, image.stars) for image in images] == [("unreviewed", 0), ("rejected", 0), ("unreviewed", 0)]


def test_a_migrated_ledger_has_the_schema_of_a_new_one(first: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.sqlite3"
    Ledger(new).record(made(1))
    Ledger(first).upgrade()
    assert schema(first) == schema(new)


def test_a_copy_of_the_older_file_is_kept(first: Path) -> None:
    before = rows(first)
    Ledger(first).upgrade()
    copy = migrations.copy_of(first, 1)
    assert copy.name == "ledger.version-1.sqlite3" and rows(copy) == before
    with sqlite3.connect(copy) as connection:
        assert migrations.version_of(connection) == 1
    copy.unlink()
    Ledger(first).upgrade()
    assert not copy.exists()  # only an older file is copied


def test_a_migration_that_fails_changes_nothing(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE images ADD COLUMN half REAL")
        connection.execute("this is not SQL")

    before, columns = rows(first), schema(first)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS[:1], fail))
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(first).upgrade()
    assert (rows(first), schema(first)) == (before, columns)
    monkeypatch.undo()
    Ledger(first).upgrade()
    assert Ledger(first).page(Query()).total == 3


def test_killed_at_any_line_it_is_the_old_or_the_new_one(first: Path) -> None:
    before = rows(first)

    def check() -> None:
        assert rows(first) == before
        Ledger(first).upgrade()
        assert Ledger(first).page(Query()).total == 3
        write_first(first)

    assert killed_at_every_line(lambda: Ledger(first).upgrade(), check) > 30


def test_a_newer_ledger_is_refused_and_left_alone(first: Path) -> None:
    with sqlite3.connect(first) as connection:
        connection.execute(f"PRAGMA user_version = {migrations.VERSION + 1}")
    before = rows(first)
    with pytest.raises(
        LedgerError, match=r"has version \d+, but this pack reads versions up to \d+: update the pack, or move the file away"
    ):
        Ledger(first).record(made(1, 9))
    assert rows(first) == before
