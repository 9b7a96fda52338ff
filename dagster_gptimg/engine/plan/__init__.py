"""Rows become requests with their keys, in a temporary file: `plan.py`; what a key is: `request_keys.py`."""
