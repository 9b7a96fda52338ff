"""Receipts: small facts, each created once. Together they are the only truth about money.

A fact is never changed afterwards, but for one reason: when a row is forgotten, `store/erasure.py` removes its content,
and leaves its cost.
"""
