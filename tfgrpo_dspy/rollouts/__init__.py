"""One rollout, wherever it runs: how it is drawn, made, scored, lost or kept."""
