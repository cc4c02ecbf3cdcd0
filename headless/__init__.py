"""ComfyUI without its web server, which `python -m uncertainty batch` draws with. Like `nodes`, this package knows ComfyUI."""
