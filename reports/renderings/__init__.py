"""Runs and comparisons as text, tables, files and pages: pure functions of what was measured."""
