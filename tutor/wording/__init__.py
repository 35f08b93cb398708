"""The words that the screen and plain mode share: sentences for codes, numbers, typed input."""
