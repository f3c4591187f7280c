"""What a user names, and what is meant by it: servers, models, bare words."""
