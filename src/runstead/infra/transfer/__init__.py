"""Transfer of all stored data between profiles by way of a file; see docs/moving.md."""
