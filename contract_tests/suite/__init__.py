"""A run: what it has at hand, fills in, cleans up, and sees."""
