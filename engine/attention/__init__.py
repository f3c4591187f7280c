"""Paged attention: the backends, the cache and page table they read, and the choice between them."""
