"""What this client does with any HTTP server: sessions, bounded bodies, redirects that are not followed."""
