"""From names to things: public names at their first use, modules by their place, what other distributions bring."""
