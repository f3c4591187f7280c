"""KV memory in blocks: counting references, finding prefixes, moving blocks to the host and back."""
