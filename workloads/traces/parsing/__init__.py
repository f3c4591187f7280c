"""What trace formats are made of: rows, limits, chains of blocks, timing."""
