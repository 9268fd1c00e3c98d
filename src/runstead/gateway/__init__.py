"""HTTP: routes that read the wire, call one verb, and write the wire."""
