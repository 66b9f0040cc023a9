"""Experiments: benchmarks, verifiers, a harness, tables with error bars and the reports on them."""
