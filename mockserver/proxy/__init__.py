"""Stands before real servers: passes requests on, judges both sides while they pass, and records them."""
