"""What a run comes to: percentiles, verdicts, findings, and what speaks against trusting them."""
