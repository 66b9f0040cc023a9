"""What a comparison says: one value, shown as Markdown, as one HTML page, and as figures."""
