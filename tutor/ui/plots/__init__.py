"""The pictures of a lesson: one module for each drawing, and their common parts."""
