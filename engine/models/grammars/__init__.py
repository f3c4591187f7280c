"""Answers that keep to a grammar: JSON, or JSON of a schema. llguidance says which tokens may come next."""
