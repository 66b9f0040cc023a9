"""What a person reads of a run: one story, its verdict and its tables."""
