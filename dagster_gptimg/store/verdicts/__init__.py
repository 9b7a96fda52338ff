"""Verdicts on images.

`verdicts.py`: facts, each of which is created once; `verdict_columns.py`: how an image table has them.
"""
