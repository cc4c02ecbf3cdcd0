"""Nodes that show, save and load maps or turn them into masks."""
