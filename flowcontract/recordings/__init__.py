"""Recorded exchanges as people have them: HAR files of browsers and proxies, our own recordings, streams saved raw.

What is read here was written by others and may mean harm. Nothing of it raises anything but `Unreadable`, which says
in one line what is wrong and where; nothing is read outside of the recording's folder; nothing grows beyond its bounds.
"""
