"""What to run, and what the results mean."""
