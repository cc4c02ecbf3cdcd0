"""The small text-to-image model that ships with the pack, and how it was trained."""
