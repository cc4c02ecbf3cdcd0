"""HTTP routes of the library: its page, the ledger's images in a list, verdicts, and moving files."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from ...uncertainty.baselines import BASELINES, Baseline
from ...uncertainty.choices import check_choice
from ...uncertainty.choosing import rejecting
from ...uncertainty.kinds import TRUTH, Kind, listed, optional, shown, whole
from ...uncertainty.quantities import DEFAULT_QUANTITY, QUANTITIES, Quantity
from ...uncertainty.settings import in_words
from ...uncertainty.storage import foreign
from ...uncertainty.storage.ledger import Ledger
from ...uncertainty.storage.ledger_file import LedgerError
from ...uncertainty.storage.ledger_query import ROW, Query
from ...uncertainty.storage.rating import MOST_STARS
from ...uncertainty.storage.records import STATES, ImageRecord
from .. import view_route
from . import hand_verdicts, ledger_access, library_page, library_pictures, moving_images, request_body

MOST_ROWS = 500
# Fields of the query that are texts.
TEXTS = ("sort", "order", "quantity", "fingerprint", "prompt_digest", "model", "search")
# What the images of a page are ranked among.
RANKED = ("within_prompt", "across_prompts")
# Most files to move per request, so that it ends before the browser's timeout.
MOST_MOVES = 5000
IDS = listed(ROW, most=MOST_MOVES, least=1)
# What a person can say of an image.
BY_HAND = tuple(state for state in STATES if state != "sorted_out")
VERDICT = Kind(f"one of {', '.join(BY_HAND)}", lambda value: value in BY_HAND)
STARS = whole(0, MOST_STARS)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes() -> None:
    """Register the routes, unless there is no server (in tests)."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    ledger_access.upgrade()
    for method, path, answer in (
        ("GET", "/uncertainty", library_page.page),
        ("GET", "/uncertainty/temporary/{name}", view_route.temporary),
        ("GET", "/uncertainty/quantities", quantities),
        ("GET", "/uncertainty/ledger", rows),
        ("GET", "/uncertainty/ledger/models", models),
        ("GET", "/uncertainty/ledger/{id}/thumbnail", library_pictures.thumbnail),
        ("GET", "/uncertainty/ledger/{id}/heatmap", library_pictures.heatmap),
        ("POST", "/uncertainty/ledger/judge", judge),
        ("POST", "/uncertainty/ledger/reject", _acting(hand_verdicts.reject)),
        ("POST", "/uncertainty/ledger/restore", _acting(hand_verdicts.restore)),
        ("POST", "/uncertainty/ledger/relocate", _acting(moving_images.relocate)),
        ("POST", "/uncertainty/ledger/take-off", take_off),
        ("POST", "/uncertainty/ledger/put-back", put_back),
    ):
        server.routes.route(method, path)(_in_words(answer))


def _in_words(answer: Handler) -> Handler:
    """Wrap a handler so that errors become JSON responses with a message."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await answer(request)
        except request_body.BodyTooLargeError as error:
            return web.json_response({"error": str(error)}, status=413)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        except OSError as error:  # the file is gone, or cannot be read
            return web.json_response({"error": moving_images.in_words(error)}, status=404)
        except LedgerError as error:
            return web.json_response({"error": str(error)}, status=503)

    return handle


async def quantities(request: web.Request) -> web.Response:
    """All quantities and baselines, with their labels and meanings for the views."""

    def described(scores: Mapping[str, Quantity | Baseline]) -> list[dict[str, Any]]:
        shown = ("name", "label", "meaning", "high_is_sure")
        return [{field: getattr(score, field) for field in shown} for score in scores.values()]

    listed = {"quantities": described(QUANTITIES), "baselines": described(BASELINES), "default": DEFAULT_QUANTITY}
    return web.json_response(listed)


async def rows(request: web.Request) -> web.Response:
    """One page of the list."""
    given = request.query
    texts: dict[str, Any] = {name: given[name] for name in TEXTS if name in given}
    numbers: dict[str, Any] = {
        name: _number(name, given[name]) for name in ("since", "until", "score_min", "score_max") if name in given
    }
    limit = _whole("limit", given.get("limit", "60"), 1, MOST_ROWS)
    states = given["state"].split(",") if given.get("state") else STATES
    query = Query(
        **texts, **numbers, states=tuple(states), stars_min=_whole("stars_min", given.get("stars_min", "0"), 0, MOST_STARS)
    )
    check_choice("ranked", given.get("ranked", RANKED[0]), RANKED)
    across_prompts = given.get("ranked") == RANKED[1]
    return web.json_response(await asyncio.to_thread(_page, query, limit, given.get("after"), across_prompts))


def _page(query: Query, limit: int, after: str | None, across_prompts: bool) -> dict[str, Any]:
    ledger = ledger_access.ledger()
    page = ledger.page(query, limit, after)
    ranks = ledger.ranks(page.images, query.quantity, across_prompts=across_prompts)
    rows = [
        _row(ledger, image, query.quantity) | {"rank": rank, "of": count, "across_prompts": across_prompts}
        for image, (rank, count) in zip(page.images, ranks, strict=True)
    ]
    return {"rows": rows, "total": page.total, "next": page.next, "counts": page.counts}


def _row(ledger: Ledger, recorded: ImageRecord, quantity: str) -> dict[str, Any]:
    """The data that the list shows of an image, but for its rank."""
    present = moving_images.where_it_is(ledger, recorded)
    image = present or recorded
    subfolder, _, filename = (image.file or "").rpartition("/")
    return {
        "id": image.id,
        "created": image.created,
        "seed": str(image.seed) if image.seed is not None else None,  # may be too large for JavaScript's integers
        "index": image.place,
        "model": image.model,
        "fingerprint": image.fingerprint,
        "score": image.score(quantity),
        "standard_error": image.standard_error(quantity),
        "prompt": image.prompt,
        "prompt_digest": image.prompt_digest,
        "file": {"filename": filename, "subfolder": subfolder, "type": "output"},
        "state": image.state,
        "stars": image.stars,
        "away": rejecting.is_away(image.path),
        "missing": present is None,
        "relocated": present not in (None, recorded),
    }


async def models(request: web.Request) -> web.Response:
    """The settings that the list can be filtered by."""
    groups = await asyncio.to_thread(ledger_access.ledger().groups)
    return web.json_response(
        {
            "models": [
                {"fingerprint": name, "model": settings.get("model", ""), "images": images, "label": in_words(settings)}
                for name, settings, images in groups
            ]
        }
    )


async def judge(request: web.Request) -> web.Response:
    """Give images a verdict by hand, stars, or both."""
    given = {"state": None, "stars": None, **await request_body.fields(request)}
    ids = foreign.field(given, "ids", IDS)
    state, stars = foreign.field(given, "state", optional(VERDICT)), foreign.field(given, "stars", optional(STARS))
    if state is None and stars is None:
        raise ValueError(f"give state, {VERDICT.words}, or stars, {STARS.words}.")
    return web.json_response(await asyncio.to_thread(moving_images.act, hand_verdicts.judging(state, stars), ids))


async def take_off(request: web.Request) -> web.Response:
    """Take images off the list, or with ``only_missing`` those of them whose files are gone. No file is touched."""
    given = {"only_missing": False, **await request_body.fields(request)}
    ids, only_missing = foreign.field(given, "ids", IDS), foreign.field(given, "only_missing", TRUTH)
    return web.json_response({"done": await asyncio.to_thread(_taken_off, ids, only_missing), "failed": []})


def _taken_off(ids: Sequence[int], only_missing: bool) -> list[int]:
    ledger = ledger_access.ledger()
    if only_missing:
        ids = [image.id or 0 for image in ledger.find(ids) if moving_images.where_it_is(ledger, image) is None]
    return ledger.take_off(ids)


async def put_back(request: web.Request) -> web.Response:
    """Put images that were taken off the list back."""
    ids = foreign.field(await request_body.fields(request), "ids", IDS)
    return web.json_response({"done": await asyncio.to_thread(ledger_access.ledger().put_back, ids), "failed": []})


def _acting(action: moving_images.Action) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        ids = foreign.field(await request_body.fields(request), "ids", IDS)
        return web.json_response(await asyncio.to_thread(moving_images.act, action, ids))

    return handle


def _whole(name: str, text: str, low: int, high: int) -> int:
    value = _number(name, text)
    if not low <= value <= high or value % 1:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {text}.")
    return int(value)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{name} must be a number, got {shown(text)}.") from error
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {shown(text)}.")
    return value
