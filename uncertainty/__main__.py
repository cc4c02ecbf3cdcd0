"""``python -m uncertainty``, the same as the installed command ``uncertainty``."""

from uncertainty_runs.command_line import main

if __name__ == "__main__":
    main()
