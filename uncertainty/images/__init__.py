"""Maps as pictures: colour maps, overlays, masks and plots."""
