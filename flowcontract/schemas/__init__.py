"""JSON Schema with this contract's keywords: compiled validators, violations, and their wording."""
