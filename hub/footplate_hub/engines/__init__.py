"""What starts replicas where."""
