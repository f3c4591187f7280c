"""Trace formats, one a file: each knows its own rows and says whether a sample is its own."""
