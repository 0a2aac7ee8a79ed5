"""What leaves the process: without secrets, and as text that a terminal shows and does not obey."""
