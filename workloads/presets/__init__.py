"""The built-in workloads, and the distributions they draw from."""
