"""The other nouns: threads, assistants, items. Each with its port; adapters live in `runstead.infra`."""
