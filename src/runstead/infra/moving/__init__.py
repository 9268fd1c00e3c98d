"""Everything that is kept, moved from one profile to the other by way of a file; see docs/moving.md."""
