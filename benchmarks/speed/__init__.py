"""How fast a run is, and what it takes of the machine: ratios within one run."""
