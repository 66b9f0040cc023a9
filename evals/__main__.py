"""`python -m evals`: `tfgrpo compare`, `paper` and `list` under another name."""

from evals.cli import main

if __name__ == "__main__":
    main()
