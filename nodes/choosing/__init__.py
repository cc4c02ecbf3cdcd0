"""Nodes that choose and save images, and the server side of the sidebar tab."""
