"""Cases: requests derived from the contract, and what may be answered."""
