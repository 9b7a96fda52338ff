"""Drawing of images that cannot be mistaken for a model's, in the requested size, format and background."""
