"""What is raised where something cannot be asked: it is told, and no failure."""

from __future__ import annotations


class NotExercised(Exception):  # noqa: N818 - nothing has gone wrong
    """Something cannot be asked of this target; the text says why."""


class Withheld(NotExercised):
    """An operation as a whole cannot be asked: the target must not be, or its app has switched it off."""
