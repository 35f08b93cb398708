"""The doctor: rules that look at a run and find mistakes in its training code."""
