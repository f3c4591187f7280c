"""A server that computes nothing and behaves exactly as told, for testing load generators."""
