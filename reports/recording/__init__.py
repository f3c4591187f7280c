"""What is kept of each result while a run goes on."""
