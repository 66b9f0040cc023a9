"""The ablation line-up: Training-Free GRPO, its ablations and its rivals, behind one registry of teleprompters."""
