"""Commands that look at what a run left: what it did, and its rollouts."""
