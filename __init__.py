"""abatch: a load generator and latency auditor for LLM servers that ships its own engine."""

__version__ = "0.1.0"
