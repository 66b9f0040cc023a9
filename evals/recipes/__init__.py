"""One experiment each: `python -m evals.recipes.NAME`."""
