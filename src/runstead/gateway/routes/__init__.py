"""Routes by noun. Each reads the wire, calls one verb, and writes the wire."""
