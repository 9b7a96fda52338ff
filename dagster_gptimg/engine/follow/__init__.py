"""From accepted to ended: when to ask for a status, and what fal tells without being asked.

A worker waits in `watcher.py`, one timer for all requests in flight (`tracked_request.py`). A schedule (`schedule.py`)
says when each is looked at: `learned_schedule.py` looks only at those that run by the model of fal's queue
(`queue_model.py`), at the ages that `latency.py` works out; `FixedSteps` is for tests of other parts.
`status_streams.py` and `webhook_events.py` bring ends by themselves; `status_changes.py` passes each change on to who
listens. The theory is in docs/status-calls.md.
"""
