"""Layers of transformers models, rewritten when they are loaded: fewer and larger operations, the same result."""
