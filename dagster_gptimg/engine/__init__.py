"""The engine: one run over a table, from plan to image table. Knows fal, prompts and store; no Dagster.

`run.py` leads a run through its three parts: `prepare.py` checks and reads everything before a cent is spent,
`feeder.py` hands the requests to the worker, and `finisher.py` writes index and image table. The worker (`worker.py`)
asks `purchase_rules.py` what to do next for a request until it has an outcome. On its way a request passes the folders
in this order: plan, submit, follow, collect, record; recover deals with what earlier runs left open, maintain has the
commands beside a run.

Clock, sleep, randomness and store I/O come in as parameters (`job.py`), so that the same engine runs on a fake clock.
"""
