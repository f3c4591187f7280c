"""Measuring as a library: plans, targets, sender processes, rounds, and the search for the highest rate."""
