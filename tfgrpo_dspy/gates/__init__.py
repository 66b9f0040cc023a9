"""What an update has to pass before it becomes part of the library."""
