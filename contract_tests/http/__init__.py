"""Sending a request and reading its answer piece by piece, within bounds."""
