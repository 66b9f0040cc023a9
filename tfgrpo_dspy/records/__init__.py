"""Frozen values of a run: what was rolled out, learned, decided and measured."""
