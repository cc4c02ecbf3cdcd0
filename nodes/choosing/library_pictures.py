"""The library's pictures of a saved image: a small one, and its map."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from PIL import Image

from ...uncertainty.images import heatmaps
from ...uncertainty.kinds import shown
from ...uncertainty.storage import picture_entry, thumbnails
from ...uncertainty.storage.ledger_query import ROW
from . import ledger_access, moving_images

SIDE = 512  # pixels of a thumbnail's longer side: the widest card on a screen of two pixels a point
LONGEST_NUMBER = 20


async def thumbnail(request: web.Request) -> web.Response:
    """The image, small. ComfyUI's own previews have its full size: they take four times as long, and the browser's memory."""
    return await _answered(request, lambda path: thumbnails.thumbnail(path, SIDE), "image/webp")


async def heatmap(request: web.Request) -> web.Response:
    """The map in the file's metadata as a coloured overlay, more transparent where the model is surer."""
    return await _answered(request, _heatmap, "image/png")


async def _answered(request: web.Request, draw: Callable[[Path], bytes], kind: str) -> web.Response:
    path, version = await asyncio.to_thread(_file, request.match_info["id"])
    # The browser asks each time whether the file is the same, and seldom loads it again.
    headers = {"Cache-Control": "no-cache", "ETag": f'"{version}"'}
    if any(tag.value == version for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=await asyncio.to_thread(draw, path), content_type=kind, headers=headers)


def _file(given: str) -> tuple[Path, str]:
    """The file of an image, wherever it is now, and a text that changes with its content."""
    if not (given.isdecimal() and len(given) < LONGEST_NUMBER):
        raise ValueError(f"id must be a number, got {shown(given)}.")
    ledger = ledger_access.ledger()
    recorded = moving_images.saved_image(ledger, ROW.check("id", int(given)))
    present = moving_images.where_it_is(ledger, recorded)
    path = None if present is None else moving_images.path_of(present)
    if path is None:
        raise FileNotFoundError(f"{recorded.path.name} is no longer in its folder.")
    known = path.stat()
    return path, f"{known.st_size}-{known.st_mtime_ns}"


def _heatmap(path: Path) -> bytes:
    values = picture_entry.read_map(path)
    if values is None:
        raise FileNotFoundError(f"{path.name} contains no map, because it was saved without metadata.")
    values = heatmaps.normalize(values[None], "image")
    colours = (heatmaps.colorize(values, heatmaps.COLORMAPS[0])[0] * 255).round().byte().numpy()
    image = Image.fromarray(colours)
    image.putalpha(Image.fromarray((values[0].clamp(0.15, 0.85) * 255).round().byte().numpy()))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
