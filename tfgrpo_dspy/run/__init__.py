"""One compile under way: what is set up, planned, announced and returned. The loop is in `teleprompter`."""
