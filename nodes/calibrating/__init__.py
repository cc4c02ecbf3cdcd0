"""Nodes that learn from many images which uncertainty is usual."""
