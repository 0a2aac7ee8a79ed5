"""Reads the contract: specifications, stream contracts, scenarios. Knows no server and no pytest."""
