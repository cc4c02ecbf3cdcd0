"""What draws a plan: a ComfyUI over HTTP, one in this process, or one in each of Ray's workers."""
