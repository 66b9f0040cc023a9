"""`tfgrpo compare`: its options, what it runs and shows, and its record in MLflow."""
