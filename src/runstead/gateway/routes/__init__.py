"""Routes by resource. Each parses the request, calls one method, and serializes the result."""
