"""The views' files over HTTP.

ComfyUI's own ``/view`` answers 404 for a file that went with the temporary folder, which browsers report as an error of the page.
"""

from pathlib import Path

import folder_paths
from aiohttp import web

from .view_files import FOLDER

# What the views are made of. Anybody's upload may lie there too, and a page among it would run in ComfyUI's name.
SUFFIXES = (".safetensors", ".json", ".png", ".jpg")


async def temporary(request: web.Request) -> web.StreamResponse:
    """The file of that name, or an answer without content."""
    name = request.match_info["name"]
    path = Path(folder_paths.get_temp_directory()) / FOLDER / name
    if path.name != name or path.suffix not in SUFFIXES or not path.is_file():
        return web.Response(status=204)
    return web.FileResponse(path)
