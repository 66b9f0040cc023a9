"""Students: DSPy programs for mathematics, web search and the demo world, with their tools."""
