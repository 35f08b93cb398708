"""Lesson files: text in, checked lessons out. Knows neither torch nor Textual."""
