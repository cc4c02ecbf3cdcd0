"""The hook into ComfyUI's sampling, and gradients through loaded models within the available memory."""
