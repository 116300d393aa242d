"""The long-running agent: events, quiet time, workers, control."""
