"""Reading what a model wrote: field by field and item by item, in whatever form it came; total, and pure."""
