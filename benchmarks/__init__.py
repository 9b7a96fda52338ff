"""What it costs to run, measured: `make bench`, or `python -m benchmarks [NAME ...]`.

Every figure comes from real processes (a worker, and a load server of its own beside it) unless its name says that it
is simulated. Figures are compared within one run on one machine. `results.json` keeps them, docs/performance.md shows.
"""
