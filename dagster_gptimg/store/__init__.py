"""Storage by fsspec: images, receipts, the settled index, manifests. Knows bytes and paths only."""
