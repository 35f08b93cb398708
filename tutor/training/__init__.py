"""A lesson's code as a run one can step. Knows torch; knows neither processes nor screens."""
