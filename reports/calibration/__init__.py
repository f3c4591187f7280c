"""How far the client itself can be trusted, as measured against the null server."""
