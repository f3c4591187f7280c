"""Answers as they come in: what of them is timed, what is kept, and how much is read. It knows no API."""
