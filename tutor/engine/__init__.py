"""A run in a child process, spoken to by messages."""
