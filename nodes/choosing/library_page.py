"""The page of the library, for a browser tab of its own: the modules of the sidebar tab, without ComfyUI's page around them."""

from html import escape
from pathlib import Path

from aiohttp import web
from yarl import URL

import nodes as comfy_nodes  # ComfyUI's own, not this package: that is imported relatively

WEB = Path(__file__).parents[2] / "web"
STYLES = ("style.css", "culling/culling.css", "ledger/ledger.css", "ledger/page.css")
# In the page itself, because ComfyUI replaces such a header by one that allows inline scripts.
POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'"
HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "same-origin"}
# Addresses are relative: a proxy may serve ComfyUI below a path.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<title>Uncertainty: saved images</title>
<link rel="icon" href="assets/favicon.ico">
{styles}
<script type="module" src="{folder}/ledger/page.js"></script>
</head>
<body>
<main class="unc-page"></main>
<noscript>This page needs JavaScript.</noscript>
</body>
</html>
"""


async def page(request: web.Request) -> web.Response:
    """The page. It holds no data: its scripts ask the other routes."""
    folder = web_folder()
    styles = "\n".join(f'<link rel="stylesheet" href="{folder}/{style}">' for style in STYLES)
    text = PAGE.format(policy=escape(POLICY), styles=styles, folder=folder)
    return web.Response(text=text, content_type="text/html", headers=HEADERS)


def web_folder() -> str:
    """Where ComfyUI serves ``web/``: by the name of the pack's folder, which may be any. Quoted for an HTML attribute."""
    name = next(name for name, folder in comfy_nodes.EXTENSION_WEB_DIRS.items() if Path(folder).resolve() == WEB.resolve())
    return escape(URL.build(path=f"extensions/{name}").raw_path)
