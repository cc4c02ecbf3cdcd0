"""The ledger of a real server: saved images, routes, ranks over several runs, and a killed server."""

import copy
import io
import json
import os
import shutil
import signal
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dev.bootstrap import BUNDLED, comfyui
from dev.client import Graph, PromptFailed, make, run, view
from dev.server import ComfyServer
from patience import LIMIT_SECONDS
from uncertainty.storage import picture_entry
from uncertainty.storage.ledger import Ledger

BATCH = 8  # three runs are enough to compare with, two are not


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comfyui with a ledger")


@pytest.fixture(scope="module")
def own_server(place: Path) -> Iterator[ComfyServer]:
    """A server whose ledger holds only what these tests record."""
    with ComfyServer(base=place, log=place / "server.log") as running:
        yield running


def graph(seed: int, prompt: str = "cat face", **rule: object) -> Graph:
    """Sample, filter, and save the kept and the rejected images."""
    judged = {
        "mode": "reference", "keep": 1, "percentile": 50.0, "threshold": 0.0, "quantity": "denoised_variance",
        "reject": "highest", "window_start": 0.0, "window_end": 1.0, "when_none_pass": "block",
    } | rule  # fmt: skip
    measuring = {"samples": 2, "strength": 0.0, "percentile": 95.0, "window_start": 0.5, "window_end": 0.8}
    sampling = {"seed": seed, "steps": 4, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    return {
        "load": make("UncertaintyDemoModel"),
        "prompt": make("CLIPTextEncode", text=prompt, clip=["load", 1]),
        "latent": make("EmptyLatentImage", width=256, height=256, batch_size=BATCH),
        "sample": make(
            "UncertaintyKSampler", **sampling, **measuring,
            model=["load", 0], positive=["prompt", 0], negative=["prompt", 0], latent_image=["latent", 0],
        ),
        "decode": make("VAEDecode", samples=["sample", 0], vae=["load", 2]),
        "judge": make("UncertaintyScoreFilter", uncertainty=["sample", 1], images=["decode", 0], **judged),
        "kept": make("UncertaintySaveImage", images=["judge", 0], filename_prefix="night/kept", uncertainty=["judge", 3]),
        "rest": make("UncertaintySaveImage", images=["judge", 4], filename_prefix="night/rest", uncertainty=["judge", 10]),
    }  # fmt: skip


def asked(server: ComfyServer, path: str, body: object = None, **query: object) -> tuple[int, Any]:
    """Status code and JSON of an answer."""
    request = urllib.request.Request(f"{server.url}{path}?{urllib.parse.urlencode(query)}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def nights(own_server: ComfyServer) -> list[dict[str, Any]]:
    """Three runs of one workflow."""
    return [run(own_server.url, graph(seed)) for seed in (1, 2, 3)]


def test_ranks_grow_from_run_to_run(own_server: ComfyServer, nights: list[dict[str, Any]]) -> None:
    reports = [night["judge"]["text"][0] for night in nights]
    for number, report in enumerate(reports[:2], 1):
        assert f"compared within this batch: the ledger has {BATCH * number - 1} other images of the same prompt" in report
        assert f"kept {BATCH // 2} of {BATCH}" in report
    assert f"compared with {3 * BATCH - 1} other images of the same prompt and settings" in reports[2]
    assert reports[2].count(f" of {3 * BATCH}\n") + reports[2].endswith(f" of {3 * BATCH}") == BATCH
    scores = np.concatenate([night["judge"]["scores"] for night in nights])
    last = nights[-1]["judge"]
    assert last["kept"] == [i for i, score in enumerate(last["scores"]) if (scores < score).mean() < 0.5]


def test_saved_images_know_their_scores(own_server: ComfyServer, nights: list[dict[str, Any]], tmp_path: Path) -> None:
    judged = nights[0]["judge"]
    for node, images in (("kept", judged["kept"]), ("rest", [i for i in range(BATCH) if i not in judged["kept"]])):
        files = nights[0][node]["images"]
        assert len(files) == len(images)
        for file, image in zip(files, images, strict=True):
            assert file["subfolder"] == "night"
            path = tmp_path / file["filename"]
            path.write_bytes(view(own_server.url, file))
            known = picture_entry.read(path)
            assert known is not None
            assert known.scores["denoised_variance"][0] == pytest.approx(judged["scores"][image])
            small = picture_entry.read_map(path)
            assert small is not None and small.shape == (32, 32)
            with Image.open(path) as saved:
                assert json.loads(saved.info["prompt"])["sample"]["class_type"] == "UncertaintyKSampler"


def test_judging_again_samples_nothing(own_server: ComfyServer, nights: list[dict[str, Any]]) -> None:
    progress: list[str] = []
    again = run(own_server.url, graph(3, mode="keep_best"), lambda node, value, maximum: progress.append(node))
    assert "sample" not in progress
    assert len(again["judge"]["kept"]) == 1
    _, told = asked(own_server, "/uncertainty/ledger", limit=500)
    assert told["total"] == 4 * BATCH  # every file is listed,
    assert {row["of"] for row in told["rows"]} == {3 * BATCH}  # but every image counts once


def test_pages_and_conditions(own_server: ComfyServer, nights: list[dict[str, Any]]) -> None:
    _, whole = asked(own_server, "/uncertainty/ledger", sort="score", order="asc", limit=500)
    scores = [row["score"] for row in whole["rows"]]
    assert scores == sorted(scores) and len(scores) == whole["total"]
    assert sorted({row["rank"] for row in whole["rows"]}) == list(range(1, 3 * BATCH + 1))
    _, first = asked(own_server, "/uncertainty/ledger", sort="score", order="asc", limit=5)
    _, second = asked(own_server, "/uncertainty/ledger", sort="score", order="asc", limit=5, after=first["next"])
    assert [row["id"] for row in first["rows"] + second["rows"]] == [row["id"] for row in whole["rows"][:10]]
    assert not any(row["missing"] or row["away"] for row in whole["rows"])
    saved = {"kept": len([each for night in nights for each in night["kept"]["images"]])}
    assert whole["counts"] == {
        "unreviewed": saved["kept"] + 1,  # the best of the last run was saved again
        "kept": 0,
        "rejected": 0,
        "sorted_out": whole["total"] - saved["kept"] - 1,
    }
    _, groups = asked(own_server, "/uncertainty/ledger/models")
    (group,) = groups["models"]
    assert group["images"] == whole["total"]
    assert group["label"] == "DemoModel, euler, 4 steps, CFG 3, latent 32×32"
    assert asked(own_server, "/uncertainty/ledger", fingerprint=group["fingerprint"], score_max=scores[2])[1]["total"] == sum(
        score <= scores[2] for score in scores
    )
    assert asked(own_server, "/uncertainty/ledger", fingerprint="x")[1]["total"] == 0
    assert asked(own_server, "/uncertainty/ledger", until=1)[1]["total"] == 0


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"sort": "x"}, ["sort", "'x'"]),
        ({"state": "x"}, ["state", "'x'"]),
        ({"ranked": "x"}, ["ranked", "within_prompt", "across_prompts", "'x'"]),
        ({"limit": "0"}, ["limit", "0"]),
        ({"limit": "nan"}, ["limit", "nan"]),
        ({"since": "yesterday"}, ["since", "yesterday"]),
        ({"after": "x"}, ["after", "'x'"]),
        ({"stars_min": "6"}, ["stars_min", "6"]),
        ({"search": "x" * 300}, ["search", "200", "300"]),
    ],
)
def test_bad_questions_are_answered_in_words(own_server: ComfyServer, query: dict[str, str], words: list[str]) -> None:
    status, told = asked(own_server, "/uncertainty/ledger", **query)
    assert status == 400
    assert all(word in told["error"] for word in words)


def picture_of(server: ComfyServer, row: dict[str, Any], kind: str) -> Image.Image:
    """The thumbnail or the heatmap of a row."""
    with urllib.request.urlopen(f"{server.url}/uncertainty/ledger/{row['id']}/{kind}") as response:
        return Image.open(io.BytesIO(response.read()))


@pytest.mark.parametrize("kind", ["thumbnail", "heatmap"])
def test_no_picture_of_what_is_not_listed(own_server: ComfyServer, nights: list[dict[str, Any]], kind: str) -> None:
    assert asked(own_server, f"/uncertainty/ledger/99999/{kind}")[0] == 404
    assert asked(own_server, f"/uncertainty/ledger/x/{kind}")[0] == 400


def test_thumbnail_follows_its_file(own_server: ComfyServer, nights: list[dict[str, Any]]) -> None:
    (row,) = asked(own_server, "/uncertainty/ledger", limit=1)[1]["rows"]
    whole = Image.open(io.BytesIO(view(own_server.url, row["file"])))
    for action in ("reject", "restore"):
        small = picture_of(own_server, row, "thumbnail")
        assert (small.format, small.size) == ("WEBP", whole.size)  # never enlarged
        assert np.abs(np.asarray(small.convert("RGB"), float) - np.asarray(whole.convert("RGB"), float)).mean() < 6
        assert asked(own_server, f"/uncertainty/ledger/{action}", {"ids": [row["id"]]})[1]["done"] == [row["id"]]


def test_a_picture_is_sent_again_only_if_its_file_changed(own_server: ComfyServer, nights: list[dict[str, Any]]) -> None:
    (row,) = asked(own_server, "/uncertainty/ledger", limit=1)[1]["rows"]
    path = own_server.base / "output" / row["file"]["subfolder"] / row["file"]["filename"]
    request = urllib.request.Request(f"{own_server.url}/uncertainty/ledger/{row['id']}/thumbnail")
    with urllib.request.urlopen(request) as response:
        request.add_header("If-None-Match", response.headers["ETag"])
    with pytest.raises(urllib.error.HTTPError, match="304"):
        urllib.request.urlopen(request)
    os.utime(path)
    with urllib.request.urlopen(request) as response:
        assert response.status == 200


def test_heatmap_lies_over_the_image(own_server: ComfyServer, nights: list[dict[str, Any]]) -> None:
    _, told = asked(own_server, "/uncertainty/ledger", limit=1)
    image = picture_of(own_server, told["rows"][0], "heatmap")
    assert (image.mode, image.size) == ("RGBA", (32, 32))
    assert len(np.unique(np.asarray(image)[..., 3])) > 20


def test_rejects_move_and_come_back(own_server: ComfyServer, nights: list[dict[str, Any]], place: Path) -> None:
    _, told = asked(own_server, "/uncertainty/ledger", sort="score", order="desc", limit=2)
    ids = [row["id"] for row in told["rows"]]
    files = [place / "output" / "night" / row["file"]["filename"] for row in told["rows"]]
    _, done = asked(own_server, "/uncertainty/ledger/reject", {"ids": [*ids, 12345]})
    assert done["done"] == ids
    assert [failure["id"] for failure in done["failed"]] == [12345]
    assert not any(file.exists() for file in files)
    assert all((file.parent / "rejected" / file.name).exists() for file in files)
    _, told = asked(own_server, "/uncertainty/ledger", state="rejected")
    assert {row["id"] for row in told["rows"]} == set(ids)
    assert {row["file"]["subfolder"] for row in told["rows"]} == {"night/rejected"}
    # The user moves one back by hand. A GET request finds the file and changes nothing.
    shutil.move(files[0].parent / "rejected" / files[0].name, files[0])
    for _ in range(2):
        _, told = asked(own_server, "/uncertainty/ledger", state="rejected")
        assert not any(row["missing"] for row in told["rows"])
        assert {row["id"]: (row["relocated"], row["away"]) for row in told["rows"]} == {
            ids[0]: (True, False),
            ids[1]: (False, True),
        }
    _, done = asked(own_server, "/uncertainty/ledger/relocate", {"ids": [ids[0]]})
    assert (done["done"], done["failed"]) == ([ids[0]], [])
    _, told = asked(own_server, "/uncertainty/ledger", state="rejected")
    assert {row["id"]: (row["relocated"], row["away"]) for row in told["rows"]} == {ids[0]: (False, False), ids[1]: (False, True)}
    _, done = asked(own_server, "/uncertainty/ledger/restore", {"ids": ids})
    assert (done["done"], done["failed"]) == (ids, [])
    assert all(file.exists() for file in files)


def test_requests_at_the_same_time_lose_no_file(
    own_server: ComfyServer, nights: list[dict[str, Any]], place: Path, request: pytest.FixtureRequest
) -> None:
    _, told = asked(own_server, "/uncertainty/ledger", limit=500)
    ids = [row["id"] for row in told["rows"]]
    files = {path.name: path.read_bytes() for path in (place / "output" / "night").glob("*.png")}
    assert len(files) == len(ids)
    for _ in range(50 if request.config.getoption("--long") else 5):
        with ThreadPoolExecutor(6) as several:
            asks = [
                several.submit(asked, own_server, f"/uncertainty/ledger/{what}", {"ids": ids})
                for what in ("reject", "restore") * 3
            ]
            assert {ask.result()[0] for ask in asks} == {200}
        _, told = asked(own_server, "/uncertainty/ledger", limit=500)
        assert not any(row["missing"] or row["relocated"] for row in told["rows"])
    _, done = asked(own_server, "/uncertainty/ledger/restore", {"ids": ids})
    assert (done["done"], done["failed"]) == (ids, [])
    assert {path.name: path.read_bytes() for path in (place / "output" / "night").glob("*.png")} == files


def test_verdicts_and_stars_by_request(own_server: ComfyServer, nights: list[dict[str, Any]], place: Path) -> None:
    _, told = asked(own_server, "/uncertainty/ledger", state="unreviewed", limit=3)
    first, second, third = [row["id"] for row in told["rows"]]
    _, done = asked(own_server, "/uncertainty/ledger/judge", {"ids": [first, second, 12345], "state": "kept", "stars": 4})
    assert (done["done"], [failure["id"] for failure in done["failed"]]) == ([first, second], [12345])
    _, done = asked(own_server, "/uncertainty/ledger/judge", {"ids": [third], "state": "rejected"})
    _, told = asked(own_server, "/uncertainty/ledger", state="kept,rejected")
    said = {row["id"]: (row["state"], row["stars"], row["away"]) for row in told["rows"]}
    assert said == {first: ("kept", 4, False), second: ("kept", 4, False), third: ("rejected", 0, False)}
    assert (told["counts"]["kept"], told["counts"]["rejected"], told["total"]) == (2, 1, 3)
    assert asked(own_server, "/uncertainty/ledger", stars_min=4)[1]["total"] == 2
    asked(own_server, "/uncertainty/ledger/judge", {"ids": [first, second, third], "state": "unreviewed", "stars": 0})
    assert asked(own_server, "/uncertainty/ledger", state="kept,rejected")[1]["total"] == 0


def test_images_leave_the_list_and_come_back(own_server: ComfyServer, nights: list[dict[str, Any]]) -> None:
    _, told = asked(own_server, "/uncertainty/ledger", limit=2)
    ids = [row["id"] for row in told["rows"]]
    missing = {"ids": ids, "only_missing": True}
    assert asked(own_server, "/uncertainty/ledger/take-off", missing) == (200, {"done": [], "failed": []})
    assert asked(own_server, "/uncertainty/ledger/take-off", {"ids": [*ids, 12345]}) == (200, {"done": ids, "failed": []})
    assert asked(own_server, "/uncertainty/ledger", limit=2)[1]["total"] == told["total"] - 2
    assert asked(own_server, "/uncertainty/ledger/put-back", {"ids": ids}) == (200, {"done": ids, "failed": []})
    assert asked(own_server, "/uncertainty/ledger", limit=2)[1]["total"] == told["total"]
    for what in ("take-off", "put-back"):
        assert asked(own_server, f"/uncertainty/ledger/{what}", {"ids": "all"})[0] == 400


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"ids": [1]}, "state"),
        ({"ids": [1], "state": "sorted_out"}, "state"),
        ({"ids": [1], "state": ["kept"]}, "state"),
        ({"ids": [1], "stars": 6}, "stars"),
        ({"ids": [1], "stars": True}, "stars"),
        ({"ids": ["1"], "stars": 1}, "ids"),
    ],
)
def test_other_verdicts_are_refused(own_server: ComfyServer, body: object, word: str) -> None:
    status, told = asked(own_server, "/uncertainty/ledger/judge", body)
    assert status == 400 and word in told["error"]


@pytest.mark.parametrize("body", [{"ids": []}, {"ids": ["1"]}, {"ids": "../x"}, {"ids": [True]}, {"files": ["a.png"]}, [1], {}])
def test_only_numbers_come_from_the_browser(own_server: ComfyServer, body: object) -> None:
    status, told = asked(own_server, "/uncertainty/ledger/reject", body)
    assert status == 400
    assert "ids" in told["error"]


def test_a_row_that_points_elsewhere_moves_nothing(own_server: ComfyServer, nights: list[dict[str, Any]], place: Path) -> None:
    """A manipulated ledger cannot make the server move files outside its output folder."""
    secret = place / "user" / "secret.png"
    secret.write_text("s")
    ledger = Ledger(place / "user" / "uncertainty" / "ledger.sqlite3")
    _, told = asked(own_server, "/uncertainty/ledger", limit=1)
    row = told["rows"][0]
    ledger.change(row["id"], file="../user/secret.png")
    _, done = asked(own_server, "/uncertainty/ledger/reject", {"ids": [row["id"]]})
    assert done["done"] == []
    assert "outside" in done["failed"][0]["reason"]
    assert secret.exists()
    ledger.change(row["id"], file=f"night/{row['file']['filename']}")


def test_other_content_than_json_is_refused(own_server: ComfyServer) -> None:
    request = urllib.request.Request(f"{own_server.url}/uncertainty/ledger/reject", data=b'{"ids": [1]}')
    request.add_header("Content-Type", "text/plain")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 400


def test_a_subfolder_may_be_a_link(own_server: ComfyServer, nights: list[dict[str, Any]], place: Path) -> None:
    """Images on another disk are listed, but not moved."""
    (place / "disk").mkdir()
    (place / "output" / "linked").symlink_to(place / "disk")
    prompt = graph(3, mode="keep_best")
    prompt["kept"]["inputs"]["filename_prefix"] = "linked/one"
    if comfyui() != BUNDLED:
        with suppress(PromptFailed):
            run(own_server.url, prompt)
        if not list((place / "disk").iterdir()):
            pytest.skip("this ComfyUI saves nothing through links that lead out of its output folder")
    (file,) = run(own_server.url, prompt)["kept"]["images"]
    assert (place / "disk" / file["filename"]).is_file()
    _, told = asked(own_server, "/uncertainty/ledger", limit=500)
    (row,) = [row for row in told["rows"] if row["file"]["subfolder"] == "linked"]
    assert (row["file"]["filename"], row["missing"]) == (file["filename"], False)
    _, done = asked(own_server, "/uncertainty/ledger/reject", {"ids": [row["id"]]})
    assert "outside" in done["failed"][0]["reason"]
    assert (place / "disk" / file["filename"]).is_file()


def test_images_of_another_prompt_are_ranked_apart(own_server: ComfyServer, nights: list[dict[str, Any]]) -> None:
    first = run(own_server.url, graph(1, "rocket"))["judge"]["text"][0]
    assert f"compared within this batch: the ledger has {BATCH - 1} other images of the same prompt" in first
    mixed = run(own_server.url, graph(1, "rocket", across_prompts=True))["judge"]["text"][0]
    assert f"{4 * BATCH - 1} other images with the same settings and any prompt: ranks mix" in mixed
    _, newest = asked(own_server, "/uncertainty/ledger", limit=1)
    (row,) = newest["rows"]
    _, told = asked(own_server, "/uncertainty/ledger", prompt_digest=row["prompt_digest"], fingerprint=row["fingerprint"])
    assert {(each["of"], each["across_prompts"]) for each in told["rows"]} == {(BATCH, False)}
    _, told = asked(own_server, "/uncertainty/ledger", prompt_digest=row["prompt_digest"], ranked="across_prompts")
    assert {(each["of"], each["across_prompts"]) for each in told["rows"]} == {(4 * BATCH, True)}
    _, told = asked(own_server, "/uncertainty/ledger", limit=500)
    assert {each["prompt"] for each in told["rows"]} == {"cat face", "rocket"}
    _, told = asked(own_server, "/uncertainty/ledger", search="ROCK demomodel")
    assert {each["prompt"] for each in told["rows"]} == {"rocket"} and told["total"] == 2 * BATCH
    assert asked(own_server, "/uncertainty/ledger", search="rocket", sort="prompt")[1]["total"] == 2 * BATCH


def test_a_broken_ledger_costs_no_image(tmp_path: Path) -> None:
    """Filtering and saving continue without the ledger; what needs it fails with a message. A killed server keeps its ledger."""
    first = ComfyServer(base=tmp_path, log=tmp_path / "first.log")
    with first:
        run(first.url, graph(1))
        os.killpg(first.process_id, signal.SIGKILL)
    path = tmp_path / "user" / "uncertainty" / "ledger.sqlite3"
    assert Ledger(path).state()[0] == BATCH
    for part in path.parent.iterdir():
        part.unlink()
    path.write_bytes(b"no database at all" * 100)
    with ComfyServer(base=tmp_path, log=tmp_path / "second.log") as second:
        outputs = run(second.url, graph(1, mode="keep_best"))
        assert len(outputs["kept"]["images"]) == 1 and len(outputs["rest"]["images"]) == BATCH - 1
        assert "scores were not recorded" in second.log.read_text()
        assert asked(second, "/uncertainty/ledger")[0] == 503
        refused = copy.deepcopy(graph(1))
        with pytest.raises(Exception, match=r"UncertaintyScoreFilter failed: the ledger ledger\.sqlite3 cannot be used"):
            run(second.url, refused)
