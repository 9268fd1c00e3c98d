"""One suite per port. Every adapter runs it, also one that is written elsewhere: subclass it and give it fixtures."""
