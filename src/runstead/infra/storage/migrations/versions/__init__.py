"""The revisions, one file each. A file that has been released is never changed."""
