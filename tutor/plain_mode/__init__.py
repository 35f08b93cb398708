"""A lesson as a stream of lines with typed commands: for screen readers, pipes and logs.

A second front end over the same session as the screen's. Never loads Textual or torch.
"""
