"""Metrics, looked at once: what they return, groups scored together, ready-made ones."""
