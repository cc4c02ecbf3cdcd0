"""Many images of one workflow: planned, drawn by any number of workers, kept as files and rows, gone on with after any stop."""
