"""The contract as data: bundled, overlaid by profiles, traced to the lines of the documents."""
