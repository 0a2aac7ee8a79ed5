"""Recordings -> scenarios of our format that answer the recorded requests as the recorded server did."""

from mockserver.importing.importing import Imported, import_recordings

__all__ = ["Imported", "import_recordings"]
