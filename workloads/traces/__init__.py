"""Recorded traffic: one reader a file, and what they share."""
