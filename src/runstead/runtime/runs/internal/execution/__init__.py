"""Execute claimed runs: leases, attempts, plans, snapshots and outcomes."""
