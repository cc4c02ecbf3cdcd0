"""What developers and newcomers run: set-up, a ComfyUI of one's own, the demo. Nothing here is part of the pack."""
