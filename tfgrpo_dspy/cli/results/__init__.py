"""What is done with scores and results besides showing them: other programs get them, and the run they belong to."""
