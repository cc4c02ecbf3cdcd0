"""Nodes that choose and save images, and the sidebar tab behind them."""
