"""What a demand rests on: lines of the documents, rulings, observations, standards; and where `specs/` says so."""
