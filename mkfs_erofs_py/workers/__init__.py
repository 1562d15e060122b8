"""Work shared out to processes: Python's lock lets one process use one core only."""
