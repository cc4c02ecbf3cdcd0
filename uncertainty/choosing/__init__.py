"""Choosing images: by a rule, by their standing among others; and moving away what was not chosen."""
