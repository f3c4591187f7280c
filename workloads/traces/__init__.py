"""Recorded traffic: traces in many formats, and how they become workloads."""
