"""A terminal tutor for gradient descent, backpropagation and PyTorch's autograd."""

__version__ = "0.1.0"
