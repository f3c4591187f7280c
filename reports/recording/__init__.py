"""What is kept of each result during a run."""
