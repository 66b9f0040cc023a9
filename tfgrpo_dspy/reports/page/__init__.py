"""One page about a run: a single HTML file that needs nothing else, for a browser, a phone and MLflow."""
