"""What the sidebar tab asks the server: the ledger's images, their maps, and to move files."""

import asyncio
import io
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from ...uncertainty.choosing import rejecting
from ...uncertainty.images import heatmaps
from ...uncertainty.storage import png_entry
from ...uncertainty.storage.ledger import Entry, Ledger, LedgerError, Query
from .. import view_route
from . import ledger_access

MOST_ROWS = 500
# Rejected at once, so that a request ends before browsers give up on it.
MOST_MOVES = 5000

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes() -> None:
    """Register them; without a server (in tests) there is nothing to do."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    for method, path, answer in (
        ("GET", "/uncertainty/temporary/{name}", view_route.temporary),
        ("GET", "/uncertainty/ledger", rows),
        ("GET", "/uncertainty/ledger/models", models),
        ("GET", "/uncertainty/ledger/{id}/heatmap", heatmap),
        ("POST", "/uncertainty/ledger/reject", _mover(reject)),
        ("POST", "/uncertainty/ledger/restore", _mover(restore)),
    ):
        server.routes.route(method, path)(_in_words(answer))


def _in_words(answer: Handler) -> Handler:
    """Errors as JSON that says what is wrong."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await answer(request)
        except (ValueError, OverflowError) as error:  # the latter of numbers beyond SQLite's
            return web.json_response({"error": str(error)}, status=400)
        except FileNotFoundError as error:
            return web.json_response({"error": str(error)}, status=404)
        except LedgerError as error:
            return web.json_response({"error": str(error)}, status=503)

    return handle


async def rows(request: web.Request) -> web.Response:
    """A page of the list."""
    given = request.query
    texts = {name: given[name] for name in ("sort", "order", "quantity", "fingerprint", "model", "state") if name in given}
    numbers = {name: _number(name, given[name]) for name in ("since", "until", "score_min", "score_max") if name in given}
    limit = _number("limit", given.get("limit", "60"))
    if not 1 <= limit <= MOST_ROWS or limit % 1:
        raise ValueError(f"limit must be a whole number from 1 to {MOST_ROWS}, got {given['limit']}.")
    query = Query(**texts, **numbers)
    return web.json_response(await asyncio.to_thread(_page, query, int(limit), given.get("after")))


def _page(query: Query, limit: int, after: str | None) -> dict[str, Any]:
    ledger = ledger_access.ledger()
    page = ledger.page(query, limit, after)
    found = []
    for entry, (better, others) in zip(page.entries, ledger.better_than(page.entries, query.quantity), strict=True):
        entry = _healed(ledger, entry)
        subfolder, _, filename = (entry.file or "").rpartition("/")
        found.append(
            {
                "id": entry.id,
                "created": entry.created,
                "seed": str(entry.seed) if entry.seed is not None else None,  # larger than what JavaScript counts exactly
                "index": entry.place,
                "model": entry.model,
                "fingerprint": entry.fingerprint,
                "score": entry.score,
                "standard_error": entry.standard_error,
                "better_than": better,
                "of": others,
                "file": {"filename": filename, "subfolder": subfolder, "type": "output"},
                "rejected": entry.rejected,
                "missing": not _path(entry).is_file(),
            }
        )
    return {"rows": found, "total": page.total, "next": page.next}


async def models(request: web.Request) -> web.Response:
    """Which settings the list can be narrowed to."""
    groups = await asyncio.to_thread(ledger_access.ledger().groups)
    return web.json_response(
        {
            "models": [
                {"fingerprint": name, "model": settings.get("model", ""), "images": images, "label": _label(settings)}
                for name, settings, images in groups
            ]
        }
    )


def _label(settings: dict[str, Any]) -> str:
    """Settings in a few words: model, sampler, steps, CFG, size."""
    model = str(settings.get("model", "")).partition(" ")[0] or "unknown model"
    shape = settings.get("latent shape") or []
    size = "×".join(str(side) for side in reversed(shape[1:]))
    told = [settings.get("sampler"), f"{settings.get('total_steps')} steps"]
    if settings.get("cfg") is not None:
        told.append(f"CFG {settings['cfg']:g}")
    told += [f"latent {size}", "inpainted" if settings.get("masked") else None]
    return ", ".join([model, *(str(part) for part in told if part)])


async def heatmap(request: web.Request) -> web.Response:
    """The map in the file's own metadata, coloured, to lie over the image: the surer, the more transparent."""
    found = await asyncio.to_thread(_heatmap, request.match_info["id"])
    return web.Response(body=found, content_type="image/png", headers={"Cache-Control": "max-age=3600"})


def _heatmap(given: str) -> bytes:
    if not given.isdecimal():
        raise ValueError(f"id must be a number, got {given!r}.")
    ledger = ledger_access.ledger()
    entries = ledger.find([int(given)])
    if not entries:
        raise FileNotFoundError(f"the ledger has no saved image {given}.")
    path = _path(_healed(ledger, entries[0]))
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is not in its folder any more.")
    known = png_entry.read(path)
    if known is None:
        raise FileNotFoundError(f"{path.name} holds no map: it was saved without metadata.")
    values = heatmaps.normalize(png_entry.unpacked(known.map)[None], "image")
    colours = (heatmaps.colorize(values, heatmaps.COLORMAPS[0])[0] * 255).round().byte().numpy()
    image = Image.fromarray(colours)
    image.putalpha(Image.fromarray((values[0].clamp(0.15, 0.85) * 255).round().byte().numpy()))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def _mover(move: Callable[[Ledger, Entry], None]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            raise ValueError(f"the request must be JSON, got {request.content_type}.")
        given = await request.json()
        ids = given.get("ids") if isinstance(given, dict) else None
        if not isinstance(ids, list) or not all(type(each) is int for each in ids) or not 0 < len(ids) <= MOST_MOVES:
            raise ValueError(f"ids must be a list of 1 to {MOST_MOVES} numbers, got {str(ids)[:100]}.")
        return web.json_response(await asyncio.to_thread(_move, move, ids))

    return handle


def _move(move: Callable[[Ledger, Entry], None], ids: Sequence[int]) -> dict[str, Any]:
    ledger = ledger_access.ledger()
    entries = {entry.id: entry for entry in ledger.find(ids)}
    moved, failed = [], []
    for each in dict.fromkeys(ids):
        try:
            if each not in entries:
                raise FileNotFoundError(f"the ledger has no saved image {each}.")
            move(ledger, _healed(ledger, entries[each]))
            moved.append(each)
        except (ValueError, OSError, LedgerError) as error:
            failed.append({"id": each, "reason": str(error)})
    return {"moved": moved, "failed": failed}


def reject(ledger: Ledger, entry: Entry) -> None:
    """Move one file away."""
    if not entry.rejected:
        _apply(ledger, entry, rejecting.reject, rejected=True)


def restore(ledger: Ledger, entry: Entry) -> None:
    """Move one file back."""
    if entry.rejected:
        _apply(ledger, entry, rejecting.restore, rejected=False)


def _apply(ledger: Ledger, entry: Entry, move: Callable[[Path, Path], Path], *, rejected: bool) -> None:
    root = ledger_access.output()
    place = move(root, _path(entry))
    # Killed between these two, the file is found where it is: see _healed.
    ledger.moved(entry.id, place.relative_to(root).as_posix(), rejected)


def _path(entry: Entry) -> Path:
    return ledger_access.output() / (entry.file or "")


def _healed(ledger: Ledger, entry: Entry) -> Entry:
    """The entry, put right if its file lies in the other of its two folders: a move was cut off, or somebody moved it."""
    path = _path(entry)
    if path.is_file():
        return entry
    other = path.parent.parent / path.name if entry.rejected else path.parent / rejecting.REJECTED / path.name
    if not other.is_file():
        return entry
    file = other.relative_to(ledger_access.output()).as_posix()
    if ledger.has(file):  # a later image got the name
        return entry
    log.info("%s was found in %s", path.name, other.parent.name)
    return ledger.moved(entry.id, file, not entry.rejected)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{name} must be a number, got {text!r}.") from error
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {text!r}.")
    return value
