"""Measures of how well uncertainty tracks errors, how close generated images are to real ones, and how well scores rank."""

from .sparsification import Sparsification, sparsification

__all__ = ["Sparsification", "sparsification"]
