"""The inference engine: scheduler, KV blocks, model and device, behind an OpenAI-compatible server."""
