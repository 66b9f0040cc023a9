"""`tfgrpo audit-reward`: whether a reward can be learned from."""
