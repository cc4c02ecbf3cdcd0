"""The ledger of many runs: one row an image, whole transactions, pages that do not miss or repeat."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dev.bootstrap import ROOT
from effort import database_steps
from made_maps import made
from uncertainty.quantities import PROBED, QUANTITIES
from uncertainty.storage.fingerprints import fingerprint, image_digests
from uncertainty.storage.ledger import Ledger
from uncertainty.storage.ledger_file import LedgerError
from uncertainty.storage.ledger_query import Query

pytestmark = pytest.mark.usefixtures("each_desk")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "deep" / "ledger.sqlite3")


def files(images: int, name: str = "a") -> list[str]:
    return [f"{name}/{index}.png" for index in range(images)]


def test_an_image_recorded_again_is_one_row(ledger: Ledger) -> None:
    found = made(3)
    ledger.record(found)
    assert ledger.page(Query()).total == 0  # not saved
    ledger.record(found, files(3))
    ledger.record(found)
    page = ledger.page(Query(sort="score", order="asc"))
    assert [entry.file for entry in page.images] == files(3)
    assert (page.total, page.next) == (3, None)
    score = found.score("denoised_variance")
    assert [entry.score("denoised_variance") for entry in page.images] == pytest.approx(score.value.tolist())
    assert [entry.standard_error("denoised_variance") for entry in page.images] == pytest.approx([0.01] * 3)
    assert {(entry.seed, entry.prompt_digest, entry.model) for entry in page.images} == {(0, "p", "SD15 abc")}


def test_equal_maps_under_other_settings_are_other_images(ledger: Ledger) -> None:
    """The first step is measured before sampler and guidance make a difference."""
    for number, settings in enumerate(({"strength": 0.0}, {"sampler": "heun"}, {"strength": 1.0}, {"strength": 2.0})):
        found = made(2, **settings)
        name = ledger.record(found, files(2, str(number)))
        count = ledger.standing(name, "p", "denoised_variance", found.score().value, image_digests(found)).count
        assert count == {0: 2, 1: 2, 2: 4, 3: 6}[number]
    assert ledger.page(Query()).total == 8
    ledger.record(made(2, percentile=80.0), files(2, "0"))  # of what is not guided
    assert ledger.page(Query()).total == 8


def test_equal_maps_of_images_that_changed_afterwards_are_other_images() -> None:
    """A patch may act after the measured steps."""
    found = made(2)
    late, same = torch.rand(found.shape[1:]), {"bayesdiff": torch.rand(found.shape[1:])}
    digests = [
        image_digests(replace(found, of_run=of_run))
        for of_run in ({}, {"drift": late}, {"drift": late + 1}, {"drift": late, **same})
    ]
    assert digests[1] == digests[3]  # a baseline that was asked for changes no image
    assert len({digest for each in digests for digest in each}) == 3 * 2


def test_digests_copy_no_more_than_one_image_of_a_step() -> None:
    """Maps may lie in files because they do not fit into memory."""
    found, made_of = made(2), list[int]()

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            made_of.extend(each.numel() for each in tree_leaves(result))
            return result

    with Sizes():
        image_digests(replace(found, of_run={"drift": torch.rand(found.shape[1:])}))
    assert max(made_of, default=0) <= found.values[0].numel()


def test_a_name_belongs_to_what_was_saved_last(ledger: Ledger) -> None:
    ledger.record(made(3), files(3))
    first = ledger.page(Query(sort="score", order="asc")).images[0]
    ledger.record(made(1, 7), files(1))
    entries = ledger.page(Query()).images
    assert sorted(entry.file for entry in entries) == files(3)
    assert first.id not in {entry.id for entry in entries}
    assert ledger.find([first.id]) == []
    assert [ledger.has(file) for file in ("a/0.png", "a/3.png")] == [True, False]
    assert ledger.standing(first.fingerprint, "p", "denoised_variance", torch.empty(0)).count == 4  # its score still counts


def test_the_largest_seed_is_kept(ledger: Ledger) -> None:
    ledger.record(replace(made(1), settings={**made(1).settings, "seed": 2**64 - 1}), files(1))
    assert ledger.page(Query()).images[0].seed == 2**64 - 1


def test_scores_compare_under_equal_settings_alone(ledger: Ledger) -> None:
    plain, other_seed, other_sampler, masked = (
        made(2),
        made(2, 1, prompt="q", strength=3.0),
        made(2, 2, sampler="heun"),
        replace(made(2, 3), mask=torch.ones(2, 1, 4, 4)),
    )
    names = [ledger.record(found, files(2, str(i))) for i, found in enumerate((plain, other_seed, other_sampler, masked))]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert [count for _, _, count in ledger.groups()] == [4, 2, 2]
    assert {entry.file for entry in ledger.page(Query(fingerprint=names[2])).images} == set(files(2, "2"))


def test_standing_counts_all_recorded_images(ledger: Ledger) -> None:
    for seed in range(3):
        name = ledger.record(made(4, seed))
    standing = ledger.standing(name, "p", "denoised_variance", made(4, 1).score().value, image_digests(made(4, 1)))
    assert standing.count == 12
    everything = torch.cat([made(4, seed).score().value for seed in range(3)])
    ours = made(4, 1).score().value
    assert standing.lower.tolist() == [(everything < score).sum() for score in ours]
    assert standing.higher.tolist() == [(everything > score).sum() for score in ours]


def test_images_stand_among_the_recorded_ones_whether_they_are_recorded_or_not(ledger: Ledger) -> None:
    ledger.record(made(4))
    ours = made(4, 1)
    args = (fingerprint(ours), "p", "denoised_variance", ours.score().value, image_digests(ours))
    before = ledger.standing(*args)
    ledger.record(ours)
    after = ledger.standing(*args)
    assert before.count == after.count == 8
    assert before.lower.tolist() == after.lower.tolist() and before.higher.tolist() == after.higher.tolist()


def test_ranks_know_which_end_is_good(ledger: Ledger) -> None:
    ledger.record(made(5), files(5))
    entries = ledger.page(Query(sort="score", order="asc")).images
    assert ledger.ranks(entries, "denoised_variance") == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert ledger.ranks(entries, "score_variance")[0] == (5, 5)


def test_images_rank_among_those_of_their_prompt(ledger: Ledger) -> None:
    """Every image of the easy prompt has a lower score than any of the difficult one."""
    easy, difficult = made(3, prompt="easy"), made(6, prompt="difficult").select([3, 4, 5])
    ledger.record(easy, files(3, "easy"))
    name = ledger.record(difficult, files(3, "difficult"))
    entries = ledger.page(Query(sort="score", order="asc")).images
    assert ledger.ranks(entries, "denoised_variance") == [(1, 3), (2, 3), (3, 3)] * 2
    assert ledger.ranks(entries, "denoised_variance", across_prompts=True) == [(place, 6) for place in range(1, 7)]
    score = difficult.score().value
    assert ledger.standing(name, "difficult", "denoised_variance", score, image_digests(difficult)).lower.tolist() == [0, 1, 2]
    assert ledger.standing(name, None, "denoised_variance", score, image_digests(difficult)).lower.tolist() == [3, 4, 5]
    assert ledger.standing(name, "another", "denoised_variance", score).count == 3
    assert {entry.file for entry in ledger.page(Query(prompt_digest="easy")).images} == set(files(3, "easy"))
    ledger.record(made(2, 1, prompt="easy"))  # later ones are noticed
    assert {count for _, count in ledger.ranks(entries[:3], "denoised_variance")} == {5}


def test_an_image_whose_prompt_is_unknown_ranks_among_none(ledger: Ledger) -> None:
    found = replace(made(3), settings={name: value for name, value in made(3).settings.items() if name != "prompt"})
    ledger.record(found, files(3))
    entries = ledger.page(Query(sort="score", order="asc")).images
    assert ledger.ranks(entries, "denoised_variance") == [(None, 0)] * 3
    assert ledger.ranks(entries, "denoised_variance", across_prompts=True) == [(1, 3), (2, 3), (3, 3)]


def test_scores_that_are_no_numbers_are_nowhere_ranked(ledger: Ledger) -> None:
    found = made(3)
    broken = found.values.clone()
    broken[:, 1] = torch.nan
    name = ledger.record(replace(found, quantities=dict.fromkeys(PROBED, broken)), files(3))
    assert ledger.standing(name, "p", "denoised_variance", torch.empty(0)).count == 2
    assert ledger.page(Query()).total == 3
    assert ledger.page(Query(sort="score")).total == 2


@pytest.mark.parametrize("sort", ["date", "score"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_neither_miss_nor_repeat(ledger: Ledger, sort: str, order: str) -> None:
    for seed in range(5):
        ledger.record(made(7, seed), files(7, str(seed)), now=1000.0 + seed // 2)  # equal dates too
    seen, cursor = [], None
    while True:
        page = ledger.page(Query(sort=sort, order=order), 4, cursor)
        seen += page.images
        cursor = page.next
        if cursor is None:
            break
    assert page.total == len(seen) == len({entry.id for entry in seen}) == 35
    keys = [entry.created if sort == "date" else entry.score("denoised_variance") for entry in seen]
    assert keys == sorted(keys, reverse=order == "desc")


def test_conditions_narrow_the_list(ledger: Ledger) -> None:
    for seed in range(4):
        ledger.record(made(4, seed, model=f"M{seed % 2} x"), files(4, str(seed)), now=100.0 * seed)
    assert ledger.page(Query(model="M1 x")).total == 8
    assert ledger.page(Query(since=100.0, until=300.0)).total == 8
    assert ledger.page(Query(score_min=0.9, score_max=2.5)).total == 8
    (first, *_) = ledger.page(Query()).images
    changed = ledger.change(first.id, file="x/rejected/0.png", state="rejected", stars=2, stamp=(7, 8))
    assert (changed.file, changed.state, changed.stars) == ("x/rejected/0.png", "rejected", 2)
    assert (changed.size, changed.modified) == (7, 8)
    assert [entry.id for entry in ledger.page(Query(states=("rejected",))).images] == [first.id]
    assert ledger.page(Query(states=("unreviewed", "kept"))).total == 15
    assert [entry.id for entry in ledger.page(Query(stars_min=2)).images] == [first.id]
    assert ledger.page(Query(stars_min=3)).total == 0


def test_each_state_is_counted_under_the_other_conditions(ledger: Ledger) -> None:
    ledger.record(made(4), files(4))
    ledger.record(made(2, 1, sorted_out=True), files(2, "rest"))
    ledger.record(made(3, 2))  # not saved
    images = ledger.page(Query(sort="score", order="asc", states=("unreviewed",))).images
    for image, state in zip(images, ("kept", "rejected"), strict=False):
        ledger.change(image.id or 0, state=state)
    counts = {"unreviewed": 2, "kept": 1, "rejected": 1, "sorted_out": 2}
    for states in (("kept",), ("kept", "sorted_out"), tuple(counts)):
        page = ledger.page(Query(states=states))
        assert (page.counts, page.total) == (counts, sum(counts[state] for state in states))
        assert {image.state for image in page.images} == set(states)
    assert ledger.page(Query(score_max=0.5)).counts == {"unreviewed": 0, "kept": 1, "rejected": 0, "sorted_out": 1}
    ledger.record(made(4), files(4))  # what was said of an image holds when it is recorded again
    assert ledger.page(Query()).counts == counts


@pytest.mark.here_alone("about speed")
def test_a_hundred_thousand_rows_stay_fluid(ledger: Ledger) -> None:
    """No page needs many more steps of SQLite for each recorded image than now, when it takes a few milliseconds."""
    names = [ledger.record(made(1, seed, sampler=f"s{seed}"), files(1, str(seed))) for seed in range(2)]
    columns = [column for name in QUANTITIES for column in (name, f"{name}_error")]
    scores = torch.rand(100_000, len(columns), generator=torch.Generator().manual_seed(0)).tolist()
    rows = (
        (f"{i}", names[i % 5 == 0], f"prompt {i // 16 % 300}", 1e9 + i, i, i % 16, *scores[i], f"x/{i}.png", 2 * int(i % 7 == 0))
        for i in range(100_000)
    )
    with sqlite3.connect(ledger.path) as connection:
        fields = ["digest", "fingerprint", "prompt_digest", "created", "seed", "place", *columns, "file", "state"]
        connection.executemany(f"INSERT INTO images ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})", rows)  # noqa: S608
        prompts = [(f"prompt {i}", f"a cat on mat {i}") for i in range(300)]
        connection.executemany("INSERT INTO prompts (digest, text) VALUES (?, ?)", prompts)
    deep = f"[{1e9 + 30_000}, 30000]"
    for query, cursor, most in (
        (Query(), deep, 10),
        (Query(sort="score", order="asc"), "[0.7, 1]", 20),
        (Query(sort="score", fingerprint=names[1], quantity="score_variance"), None, 5),
        (Query(model="SD15 abc", states=("rejected",)), deep, 27),
        (Query(sort="score", fingerprint=names[0], prompt_digest="prompt 7"), None, 1),
        (Query(sort="prompt"), None, 27),
        (Query(sort="prompt", order="asc"), "[150, 0.5, 1]", 27),
        (Query(search="cat 299"), None, 42),
        (Query(search="SD15"), None, 37),
        (Query(since=1e9 + 500, until=1e9 + 900, score_min=0.2, score_max=0.3), None, 2),
    ):
        ledger.ranks(ledger.page(query, 60, cursor).images, query.quantity)  # keeps sorted scores
        with database_steps() as counted:
            ledger.ranks(ledger.page(query, 60, cursor).images, query.quantity)
        assert 0 < counted["steps"] < most * 100_000, query


def test_the_text_of_a_prompt_is_kept_and_searched(ledger: Ledger) -> None:
    ledger.record(made(2, prompt="c"), files(2, "cat"), prompt="a Cat, 100 % fluffy")
    ledger.record(made(2, 7, prompt="r", model="Flux x"), files(2, "rocket"), prompt="a rocket")
    ledger.record(made(1, 8, prompt="u"), files(1, "unknown"))
    assert {image.prompt for image in ledger.page(Query()).images} == {"a Cat, 100 % fluffy", "a rocket", None}
    for search, names in {
        "cat": {"cat"},
        "fluffy A": {"cat"},
        "100 %": {"cat"},
        "1_0": set(),
        "flux": {"rocket"},
        "7": {"rocket"},
        "a 7": {"rocket"},
        "sd15": {"cat", "unknown"},
        "": {"cat", "rocket", "unknown"},
    }.items():
        page = ledger.page(Query(search=search))
        assert {image.path.parent.name for image in page.images} == names, search
        assert page.total == len(page.images)
    ledger.record(made(2, 9, prompt="c"), files(2, "other cat"))  # whose text is kept out
    assert ledger.page(Query(search="cat")).total == 4
    ledger.record(made(1, 10, prompt="long"), files(1, "long"), prompt="x" * 20_000)
    assert len(ledger.page(Query(search="xxx")).images[0].prompt or "") == 10_000


@pytest.mark.parametrize(("order", "runs"), [("asc", ["a", "b"]), ("desc", ["b", "a"])])
@pytest.mark.parametrize("quantity", ["denoised_variance", "score_variance"])
def test_by_prompt_the_surest_image_of_each_comes_first(ledger: Ledger, order: str, runs: list[str], quantity: str) -> None:
    for name in ("a", "b"):
        ledger.record(made(3, prompt=name), files(3, name))
    ledger.record(made(1, 5, prompt="a"), files(1, "a later"))
    query, found, after = Query(sort="prompt", order=order, quantity=quantity), [], None
    for _ in range(4):
        page = ledger.page(query, 2, after)
        found += [(image.prompt_digest, image.score(quantity)) for image in page.images]
        after = page.next
    assert after is None and page.total == len(found) == 7
    assert [name for name, _ in found] == [name for run in runs for name in run * (4 if run == "a" else 3)]
    for name in runs:
        scores = [score for prompt, score in found if prompt == name]
        assert scores == sorted(scores, reverse=quantity == "score_variance")


def test_a_verdict_holds_when_the_file_was_moved_meanwhile(tmp_path: Path) -> None:
    """As by the commands ``rank --move`` and ``record``."""
    ledger, found, paths = Ledger(tmp_path / "ledger.sqlite3", tmp_path), made(2), [tmp_path / f"{name}.png" for name in "ab"]
    for path in paths:
        path.write_text("picture")
    ledger.record(found, [path.name for path in paths])
    first, second = ledger.page(Query(sort="score", order="asc")).images
    ledger.change(first.id or 0, state="kept", stars=3)
    (tmp_path / "rejected").mkdir()
    for path in paths:
        path.rename(tmp_path / "rejected" / path.name)
    moved = [replace(image, file=f"rejected/{image.file}", state="sorted_out") for image in (first, second)]
    ledger.add([replace(image, settings="{}") for image in moved])
    told = [(image.file, image.state, image.stars) for image in ledger.page(Query(sort="score", order="asc")).images]
    assert told == [("rejected/a.png", "kept", 3), ("rejected/b.png", "sorted_out", 0)]


def test_an_image_taken_off_the_list_still_counts(ledger: Ledger) -> None:
    name = ledger.record(made(3), files(3))
    first, second, _ = ledger.page(Query(sort="score", order="asc")).images
    ledger.change(first.id or 0, state="kept", stars=4)
    ids = [first.id or 0, second.id or 0]
    assert ledger.take_off([*ids, 99]) == ids
    assert ledger.take_off(ids) == []
    page = ledger.page(Query())
    assert (page.total, page.counts["kept"], ledger.groups()[0][2], ledger.find(ids)) == (1, 0, 1, [])
    assert ledger.standing(name, "p", "denoised_variance", torch.empty(0)).count == 3
    assert ledger.put_back([ids[0], 99]) == [ids[0]]
    assert [(image.state, image.stars) for image in ledger.find(ids)] == [("kept", 4)]
    ledger.record(made(3), files(3))  # saved again
    assert ledger.page(Query()).total == 3


def test_what_cannot_be_asked_is_named(ledger: Ledger) -> None:
    for changed, words in (
        ({"sort": "name"}, "sort"),
        ({"order": "up"}, "order"),
        ({"quantity": "x"}, "quantity"),
        ({"states": ("kept", "x")}, "state"),
        ({"search": "x" * 201}, "search .* 200 .* 201"),
    ):
        with pytest.raises(ValueError, match=words):
            Query(**changed)
    with pytest.raises(ValueError, match="after .*'x'"):
        ledger.page(Query(), after="x")


def test_a_newer_ledger_is_left_alone(ledger: Ledger) -> None:
    ledger.record(made(1))
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="has version 99, but this pack reads versions up to .*: update the pack"):
        ledger.record(made(1, 1))


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(b"not a database, but long enough to look at it" * 30)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite3 cannot be used"):
        Ledger(path).state()
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(tmp_path / "ledger.sqlite3" / "below a file").record(made(1))


def test_many_threads_write_at_once(ledger: Ledger) -> None:
    threads = [threading.Thread(target=lambda s=seed: ledger.record(made(5, s), files(5, str(s)))) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.page(Query()).total == 40


WRITER = """
import sys
sys.path[:0] = ["tests/support", "."]
from pathlib import Path
from made_maps import made
from uncertainty.storage.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for seed in range(10_000):
    ledger.record(made(4, seed), [f"{seed}/{index}.png" for index in range(4)])
    print(seed, flush=True)
"""


@pytest.mark.here_alone("other processes are not at the desk")
def test_killed_while_writing_it_holds_whole_runs(ledger: Ledger) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(ledger.path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    while (line := writer.stdout.readline()) and int(line) < 20:
        pass
    time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    told = int((writer.stdout.read().split() or [20])[-1])
    writer.wait()
    page = ledger.page(Query(), limit=60)
    assert page.total % 4 == 0
    assert page.total // 4 in (told + 1, told + 2)  # all that were finished, and at most the one whose word was lost
    ledger.record(made(4, 99_999), files(4))
    assert ledger.page(Query()).total == page.total + 4
