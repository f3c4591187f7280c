"""Where an engine runs, in a process of its own or in virtual time, and what starts and stops server processes."""
