"""What a request is: its operation, its key, its body, what it prefers, and why it is refused."""
