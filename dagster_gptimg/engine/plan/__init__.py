"""Rows become requests with their keys, before anything is sent.

`plan.py` reads the checked rows once, cuts each row into requests of as many images as its model makes at once, and
writes them to a temporary file. `request_keys.py` says what a key is, and so which requests are the same purchase;
`equal_rows.py` counts the copies, so that each of several equal rows is bought; `shapes.py` has what rows with the same
arguments share. `text_digest.py` is the digest of a
plan's texts, and `model_choice.py` says which model a dataset has where nobody names one.
"""
