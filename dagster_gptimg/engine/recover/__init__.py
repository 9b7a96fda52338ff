"""What earlier runs left open, and submits that may or may not have reached fal.

`open_receipts.py` reads the receipts at a run's start, where the settled index does not answer. A submit whose reply is
lost goes to `ambiguous_submits.py`; `history_search.py` reads fal's history for all of them, and `history_evidence.py`
says which request there is whose, and what speaks for there being none. `cancel_queued.py` takes back what still waits
at fal when a run is interrupted.
"""
