"""Where a run sends its requests: an HTTP server, or the engine in this process."""
