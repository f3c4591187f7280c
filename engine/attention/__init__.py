"""Paged attention backends, one a file."""
