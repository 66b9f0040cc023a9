"""Whose failure what goes wrong is: the model's, the infrastructure's, or that of what was asked."""
