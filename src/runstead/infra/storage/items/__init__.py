"""Items: the store that graphs share, with search by text, metadata and vectors."""
