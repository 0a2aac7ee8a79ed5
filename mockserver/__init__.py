"""A mock server that answers as the contract says."""
