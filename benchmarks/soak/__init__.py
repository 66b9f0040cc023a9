"""Runs that are disturbed at random have to end as the undisturbed one did: `python -m benchmarks.soak`."""
