"""What can be set: pace, seed and limits, and what the apps are."""
