"""Runs the rows of a comparison: each is compiled under its budget, then scored on fresh rollouts."""
