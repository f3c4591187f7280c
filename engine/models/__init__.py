"""What may be loaded: sources, checks, tokenizers and the tiny model that is built in."""
