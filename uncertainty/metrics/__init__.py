"""Measures of how well uncertainty tracks errors, how near generated images are to real ones, and how well scores rank."""
