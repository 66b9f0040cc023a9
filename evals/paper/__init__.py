"""The paper's tables: what was published, what we measure on the same rows, and both beside each other."""
