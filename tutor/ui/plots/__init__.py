"""The pictures of a lesson: one module for each drawing, and what they share."""
