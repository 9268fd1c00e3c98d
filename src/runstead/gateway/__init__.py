"""HTTP layer: routes that parse the wire format, call one method, and serialize the result."""
