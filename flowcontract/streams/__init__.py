"""Streams: SSE decoding, event orders, stream contracts, and the judge that follows a stream."""
