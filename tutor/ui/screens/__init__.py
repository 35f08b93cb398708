"""The screens: each composes panes."""
