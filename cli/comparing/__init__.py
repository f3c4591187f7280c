"""Comparing: what is put side by side, measured in turns, and what came of it."""
