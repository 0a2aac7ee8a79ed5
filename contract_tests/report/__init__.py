"""A finished run, as one JSON document, and everything that is shown of it: files, terminal, GitHub."""
