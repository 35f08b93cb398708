"""Lesson files: text in, checked lessons out."""
