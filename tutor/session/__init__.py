"""The learner's side of a lesson without a screen: commands, exercises, feedback, bookmarks."""
