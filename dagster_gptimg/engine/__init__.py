"""The engine: one run over a table, from plan to image table. Knows fal, prompts and store; no Dagster.

`run.py` leads a run and hands each request to a worker (`worker.py`), which asks the state table what to do next until
the request has an outcome. On its way a request passes the folders in this order: plan, submit, follow, collect,
record; recover deals with what earlier runs left open, maintain has the commands beside a run.

Clock, sleep, randomness and store I/O come in as parameters (`job.py`), so that the same engine runs on a fake clock.
"""
