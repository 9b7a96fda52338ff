"""From ended to stored: the result, its images, the outcome.

`collect.py` reads the result, has its images fetched within `download_limit.py`, checked and stored, and returns the
outcome, which `engine/worker.py` records. `result_reads.py` says when and how often a result is read, and when reads
without images prove that the request failed: one of them is never enough. `odd_images.py` makes one warning of what is
odd, `unit_prices.py` says what fal billed. Images on record whose files are gone are found by `missing_images.py`, and
brought from fal again by `refetch.py`.
"""
