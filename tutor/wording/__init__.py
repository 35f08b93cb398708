"""The sentences of the tutor, made from codes and parameters: one catalogue for screen and text."""
