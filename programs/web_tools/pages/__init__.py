"""A page as text: fetched or from the cache, read as HTML or PDF."""
