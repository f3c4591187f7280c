"""What a run sends to: an HTTP server, or the engine in this process."""
