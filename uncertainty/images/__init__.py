"""What becomes a picture: colour maps, overlays, masks, plots."""
