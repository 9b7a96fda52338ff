"""What earlier runs left open (`open_receipts.py`), and submits of which nobody knows whether they reached fal."""
