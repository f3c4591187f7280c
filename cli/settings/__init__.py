"""What a user sets once, for every command: abatch.toml and the environment."""
