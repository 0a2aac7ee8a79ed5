"""Reads recorded exchanges: HAR files of browsers and proxies, our own recordings, raw streams.

Recordings come from others and may be malicious. Whatever they contain, only `Unreadable` is raised, which says in one
line what is wrong and where; no file outside the recording's folder is read; memory is bounded.
"""
