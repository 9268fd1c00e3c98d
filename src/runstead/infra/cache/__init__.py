"""Where values are cached that user code shares."""
