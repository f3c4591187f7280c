"""The endpoints that generate: one module for each API, over the same choices, tokens and tools."""
