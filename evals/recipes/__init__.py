"""The paper's tables, one file each: `python -m evals paper NAME`."""
