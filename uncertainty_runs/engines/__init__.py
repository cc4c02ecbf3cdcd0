"""What runs a plan: a ComfyUI server over HTTP, a ComfyUI in this process, or one in each of several Ray workers."""
