"""Chat services, such as Slack: a message becomes a run, and its answer a reply. There is none yet."""
