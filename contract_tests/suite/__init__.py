"""A run: the values that it fills in, what it creates and removes, and the record of what it saw."""
