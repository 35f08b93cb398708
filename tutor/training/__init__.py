"""A lesson's code as a run one can step."""
