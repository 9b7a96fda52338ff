"""Image files: their formats, paths, and listing. Bytes are stored unchanged."""
