"""A server that computes nothing and does exactly what it is told: what a load generator is tested against."""
