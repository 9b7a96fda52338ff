"""The engine: plan, submit, settle, watch, collect, budget. Knows fal, prompts and store; no Dagster.

Clock, sleep, randomness and store I/O come in as parameters (`Runtime`), so that the same engine runs on a fake clock.
"""
