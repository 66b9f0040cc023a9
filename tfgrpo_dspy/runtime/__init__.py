"""What a run works with: a pool of threads, a memory of finished tasks, a place to work and listeners."""
