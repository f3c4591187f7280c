"""From an EngineConfig to a running engine: load, try the largest step, share out memory, record steps."""
