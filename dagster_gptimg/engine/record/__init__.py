"""What receipts say (`state_table.py`), what a run knows (`results.py`), and what is written and counted of it."""
