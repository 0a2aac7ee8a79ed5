"""The application: a request's whole journey from operation to reply."""
