"""From names to things: public names at their first use."""
