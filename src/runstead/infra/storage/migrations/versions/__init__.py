"""The revisions, one file each. The statements of a released revision never change."""
