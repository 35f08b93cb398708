"""A terminal tutor for gradient descent, backpropagation and PyTorch's autograd."""

__version__ = "0.1.0"

APP = "gradient-tutor"
"""The name of the tutor's own folders, in those that the platform has for programs."""
