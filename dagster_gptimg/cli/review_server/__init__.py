"""The server of a review: `dagster-gptimg review serve`. Needs the extra `review`.

The gallery's page from this machine, with verdicts that are on record as soon as they are given. `access.py` says who
may call, `files.py` which files there are and how they are sent, `session.py` keeps what the pages show up to date,
`app.py` answers, and `process.py` listens. It needs no key, buys nothing, and writes verdicts and thumbnails only.
"""
