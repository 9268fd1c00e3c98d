"""Stream bridges: storage of the events of running and recently ended runs, for their readers."""
