"""Views of a run that are computed beside it: graph, plots, mode comparison, diagnosis."""
