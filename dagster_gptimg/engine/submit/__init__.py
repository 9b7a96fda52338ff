"""The intent, one POST, and its reply: `submit.py`. Beside it the budget, the limit of requests in flight, pauses."""
