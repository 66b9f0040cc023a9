"""From rows to a table: gains over training seeds with error bars, and what they allow to say."""
