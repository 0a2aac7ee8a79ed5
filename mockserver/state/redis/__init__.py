"""`--state redis://...`: what several workers, on any number of machines, know together. One module per part of it."""
