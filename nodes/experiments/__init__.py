"""Nodes for researchers: baselines, sparsification, the networks of the paper."""
