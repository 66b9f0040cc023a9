"""How a library came to be: commits of what changed, who says so, and the way back."""
