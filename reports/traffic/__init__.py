"""What a workload will send, before it is sent."""
