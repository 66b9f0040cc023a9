"""Estimates with their error bars, and evidence that may be looked at while it grows. Pure."""
