"""The hook into ComfyUI's sampling, gradients through loaded models, and their memory."""
