"""What a run will do, worked out and said before it starts."""
