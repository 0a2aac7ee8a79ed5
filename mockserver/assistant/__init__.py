"""What an assistant may ask over MCP: of a mock that runs, and of the contract."""
