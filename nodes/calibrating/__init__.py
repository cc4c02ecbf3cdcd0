"""Nodes that compute thresholds from the maps of many images."""
