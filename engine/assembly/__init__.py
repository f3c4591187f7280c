"""From an `EngineConfig` to a running engine: load, try the largest step, divide memory, record steps."""
