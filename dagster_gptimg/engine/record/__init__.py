"""What is on record, what a run knows of it, and what people are shown.

`results.py` keeps what has an outcome, by the settled index and by this run, and why the rest has none. At the end
`manifest_rows.py` makes records of rows and results, `settled_columns.py` those of a million rows that are done, in
columns; `image_table.py` writes them beside those of other rows, and `summary.py` counts what every face shows.
`receipts_by_key.py` reads all facts of a dataset, for what judges by receipts alone.
"""
