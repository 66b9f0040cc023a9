"""The experience library: entries, operations on them, files, and the section that a prompt reads. Pure."""
