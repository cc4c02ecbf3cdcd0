"""Benchmarks of the pack and the models they use. Nothing here is part of the installed pack."""
