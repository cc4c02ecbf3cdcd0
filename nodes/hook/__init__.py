"""Where this pack meets ComfyUI's sampling: the hook around model calls, gradients through loaded models, memory."""
