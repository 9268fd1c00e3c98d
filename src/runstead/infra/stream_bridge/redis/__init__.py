"""The stream bridge of the scaled profile: one Redis stream per run."""
