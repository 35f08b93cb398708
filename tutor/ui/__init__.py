"""The Textual app. It never imports torch: the engine sends all that it shows of a run."""
