"""Runs: types, facade, ports and lifecycle events. `runstead.runtime` exports their public names."""
