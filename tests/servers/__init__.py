"""Third-party servers, for tests."""
