"""The learner's own training script: what its output and its code say about an error."""
