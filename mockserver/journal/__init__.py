"""What was asked and answered, and why; without secrets."""
