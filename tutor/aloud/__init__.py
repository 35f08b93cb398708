"""A lesson as a stream of lines with typed commands: for screen readers, pipes and logs."""
