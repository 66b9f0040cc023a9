"""What an agent can search with: services of the web, or an index of its own."""
