"""Frozen stores: what a release writes, kept as fixtures, so that every later one can be held to reading it.

    python -m scripts.freeze SOURCE NAME [STORY ...]

runs the command line of SOURCE (a checkout, or a wheel) through the stories of `stories.py` and `mistakes.py`, and puts
the stores that come of it into tests/fixtures/stores/NAME. No test needs this; it is kept so that the fixtures can be
judged, and made again for another release. tests/store/test_frozen_stores.py reads them, and goes on with them.
"""
