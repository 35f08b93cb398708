"""The learner's side of a lesson without any screen: wishes, exercises, what is said to them."""
