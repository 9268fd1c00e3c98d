"""Resources other than runs: threads, assistants, items and more, each with its port. Adapters live in
`runstead.infra`."""
