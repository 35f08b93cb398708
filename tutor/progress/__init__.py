"""The learner's progress, saved in a SQLite file.

`records` and `place` load no SQLite; `store` does, so whoever minds how soon the screen is
there imports it late.
"""
