"""Journeys: what several operations say of the same thing must agree."""
