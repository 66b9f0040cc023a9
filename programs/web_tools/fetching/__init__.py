"""One page as bytes: to allowed addresses, politely, within limits."""
