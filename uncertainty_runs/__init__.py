"""Many images of one workflow: planned, drawn by one ComfyUI or many, kept as files and rows, ranked and evaluated."""
