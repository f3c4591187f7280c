"""The verdict: recording, summarising, judging and showing results."""
