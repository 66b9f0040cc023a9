"""MLflow as a listener: a run's parameters, scores, libraries, prompts, traces and model."""
