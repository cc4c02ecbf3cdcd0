"""The views' files over HTTP.

ComfyUI's own ``/view`` answers 404 for a file that went with the temporary folder, which browsers report as an error of the page.
"""

from pathlib import Path

import folder_paths
from aiohttp import web

from .view_files import FOLDER


async def temporary(request: web.Request) -> web.StreamResponse:
    """The file of that name, or an answer without content."""
    name = request.match_info["name"]
    path = Path(folder_paths.get_temp_directory()) / FOLDER / name
    if path.name != name or not path.is_file():
        return web.Response(status=204)
    return web.FileResponse(path)
