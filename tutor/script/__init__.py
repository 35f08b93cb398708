"""The learner's own training script: its loops and phases, its run, the errors in its output."""
