"""What the learner has done, kept in a SQLite file. Knows nothing of lessons and of screens."""
