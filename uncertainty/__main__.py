"""``python -m uncertainty``: the command line of ``uncertainty_runs``."""

from uncertainty_runs.command_line import main

if __name__ == "__main__":
    main()
