"""``python -m uncertainty``: the command line, which lives with what it runs."""

from uncertainty_runs.command_line import main

if __name__ == "__main__":
    main()
