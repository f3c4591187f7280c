"""Calls of tools in what a model writes: each format that models write them in, whatever API carries them."""
