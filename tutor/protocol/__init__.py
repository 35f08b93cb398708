"""Plain data that crosses the border between the app and the engine: frames, commands, events."""
