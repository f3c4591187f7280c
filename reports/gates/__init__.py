"""Rules: parsing them, reading them from a file, judging a run by them."""
