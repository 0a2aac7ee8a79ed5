"""What to ask of an operation, derived from the contract, and what may be answered."""
