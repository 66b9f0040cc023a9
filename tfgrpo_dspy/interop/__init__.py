"""The method where people already are: MLflow's prompt registry, GEPA."""
