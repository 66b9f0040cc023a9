"""The embedded LM as an agent: it reads its earlier turns from the prompt and chooses the next tool call."""
