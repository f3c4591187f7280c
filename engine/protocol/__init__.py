"""The wire types, shared by the server and the load generator's client: one module for each API. No torch, no I/O.

The annotations are the one source of what is accepted: msgspec validates requests by them, and `/openapi.json` is
generated from them. Fields with the word "extension" are not in the API they extend; they are spelled as vLLM spells
them.
"""
