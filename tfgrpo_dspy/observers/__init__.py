"""Listeners of a run: MLflow tracking and the progress display. They record and show what happens; they never steer."""
