"""Data kept after a run: safetensors files, entries in PNG files, and the ledger. Files are written atomically."""
