"""`/__mock__`: what tests and people can see and change, and who may."""
