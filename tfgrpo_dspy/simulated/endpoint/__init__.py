"""The embedded LM behind an OpenAI-compatible HTTP endpoint, with the faults and the prompt cache of real ones."""
