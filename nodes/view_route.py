"""Serves the views' files over HTTP.

ComfyUI's own ``/view`` answers 404 for a temporary file that was deleted, and browsers report that as an error of the page.
"""

from pathlib import Path

import folder_paths
from aiohttp import web

from ..uncertainty.storage.paths import is_file
from .view_files import FOLDER

# Only these are served: the folder may also hold uploads, and an uploaded HTML page would run with ComfyUI's origin.
SUFFIXES = (".safetensors", ".json", ".png", ".jpg", ".webp")


async def temporary(request: web.Request) -> web.StreamResponse:
    """The file of that name, or status 204 (no content) if it does not exist."""
    name = request.match_info["name"]
    path = Path(folder_paths.get_temp_directory()) / FOLDER / name
    if path.name != name or path.suffix not in SUFFIXES or not is_file(path):
        return web.Response(status=204)
    return web.FileResponse(path, headers={"Cache-Control": "no-cache"})  # else a browser shows files that are gone
