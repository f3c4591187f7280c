"""Percentiles, intervals and counters that know nothing of LLM servers."""
