"""The student with and without a library, and what it was seen to do."""
