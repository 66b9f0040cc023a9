"""Datasets, verifiers, scores with error bars, experiment recipes and the reports that compare them."""
