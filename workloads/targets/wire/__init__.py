"""What is sent and what comes back, one file for each API: bodies of requests, events, token counts."""
