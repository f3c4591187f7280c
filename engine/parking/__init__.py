"""Sessions between two turns: keeping, moving or dropping their KV while a tool runs or a person thinks."""
