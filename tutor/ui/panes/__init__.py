"""The panes: each shows one kind of data and does not know its siblings."""
