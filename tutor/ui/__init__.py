"""The Textual app. Never imports torch: all it knows of a run comes in messages."""
