"""The exceptions for what cannot be exercised, which is reported but no failure."""

from __future__ import annotations


class NotExercised(Exception):  # noqa: N818 - nothing has gone wrong
    """Something cannot be exercised with this target; the text says why."""


class Withheld(NotExercised):
    """An operation must not be called at all, or the app has switched it off."""
