"""How Sphinx builds these pages: `nox -s docs`."""

from __future__ import annotations

project = "flowcontract"
author = "The flowcontract authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"  # its fonts are the reader's own, its scripts and styles travel with the pages
html_title = "flowcontract"
html_copy_source = False
html_show_sourcelink = False
myst_heading_anchors = 4
nitpicky = True
