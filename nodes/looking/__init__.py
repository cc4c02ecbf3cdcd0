"""Nodes to look at maps, and to keep them."""
