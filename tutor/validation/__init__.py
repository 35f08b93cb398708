"""`tutor check`: lessons and their exercises, run and compared with what they promise."""
