"""Why the tail is there: tail events, what went on around them, and which cause that speaks for."""
