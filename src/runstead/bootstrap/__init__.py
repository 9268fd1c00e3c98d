"""Where the parts are put together: the only files that know every adapter."""
