"""What outlives a run: files that are complete or absent, entries in PNG files, and the ledger."""
