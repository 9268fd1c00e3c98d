"""Notices between the processes of a deployment. A notice means "read the storage again" and carries no state."""
