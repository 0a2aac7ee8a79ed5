"""An answer or a recording against the contract: violations, their causes, and choices."""
