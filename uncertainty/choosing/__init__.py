"""Choosing images by a rule or by their rank among others, and moving rejected files away."""
