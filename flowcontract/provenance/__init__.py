"""The basis of demands: lines of the documents, rulings, observations, standards; and their places in `specs/`."""
