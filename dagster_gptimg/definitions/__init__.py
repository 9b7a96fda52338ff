"""The Dagster integration: assets, ops, checks, partitions, resources, sensors, the component.

No other package imports it. `assets.py` has the decorator and the factory; `generation.py` is one run under Dagster,
which assets and ops share.
"""
