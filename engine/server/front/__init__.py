"""What our HTTP servers share at their edge: sockets, connections and their limits, bodies, errors and keys."""
