"""Image files: their formats, where they lie, which are there. Bytes are kept as they came."""
