"""Receipts: small facts, each created once and never changed. Together they are the only truth about money."""
