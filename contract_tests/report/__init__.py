"""Reports of a finished run: one JSON document, and the files, terminal output and annotations made from it."""
