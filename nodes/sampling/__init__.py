"""Nodes that sample, and the options they take."""
