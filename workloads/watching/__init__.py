"""What is read while a run goes on: the client's own health, server metrics, GPUs."""
