"""What happens to a session's KV while its agent is busy elsewhere."""
