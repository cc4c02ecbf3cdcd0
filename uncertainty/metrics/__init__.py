"""Measures of how well uncertainty tracks errors, how near generated images are to real ones, and how well scores rank."""

from .sparsification import Sparsification, sparsification

__all__ = ["Sparsification", "sparsification"]
