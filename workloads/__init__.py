"""Demand: what is sent, when it is sent, and the result of each request."""
