"""Stream bridges: where the events of running and finished runs are kept for their readers."""
