"""Where an engine lives: in a process of its own, or in this one in virtual time."""
