"""Commands beside a run. All of them judge by receipts, and none of them buys anything.

`dataset_lookup.py` finds the dataset, and `dataset_overview.py` says in numbers what it has. `costs.py` adds up what
was paid; `verify.py` compares images with what is on record, and fetches what is gone; `adopt.py` gives a held row
the request that the user found at fal. `prune.py` and `forget.py` delete, and only when the user says so;
`rebuild.py` writes what is derived anew. `review.py` records verdicts on images, also those of a file
(`verdict_file.py`); for a server it has `current_images.py`, the images that there are, and `verdict_changes.py`, the
verdicts that have come since. `approved.py` publishes approved images, and says what of them still stands.
`all_takes.py` adds the other takes of rows to an image table.
"""
