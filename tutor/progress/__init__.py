"""The learner's progress, saved in a SQLite file.

`records` loads no SQLite. `store` does: the screen imports it after its first paint.
"""
