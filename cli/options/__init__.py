"""Command-line options by subject, and what they mean together."""
