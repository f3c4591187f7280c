"""Time: the clocks that the engine reads, and durations as people write them."""
