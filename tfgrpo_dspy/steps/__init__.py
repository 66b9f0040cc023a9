"""The three steps of the method: rollout (1), advantage (2) and optimisation (3), and what they ask an LM."""
