"""Percentiles, intervals and counters that know nothing about LLM servers."""
