"""Storage by fsspec: images, receipts, the settled index, image tables, and the form of each. Nothing here asks fal."""
