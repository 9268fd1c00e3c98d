"""One test suite per port. Every adapter runs it, also third-party ones: subclass it and provide its fixtures."""
