"""A request and a response against their operation."""
