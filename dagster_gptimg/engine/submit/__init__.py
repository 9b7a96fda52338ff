"""From a request to fal's reply: the only folder that spends money.

Before a submit, `engine/worker.py` waits for budget (`budget.py`), for a place at fal (`in_flight_limit.py`) and for
its turn (`stop.py`, which says why a run buys nothing more, or slower). `submit.py` then has reference images uploaded
(`reference_uploads.py`), creates the intent when the connection stands, lets one POST go, and records what it brought.
A submit that fal did not take is judged in `rejections.py`. `webhook_urls.py` makes the signed address that names the
attempt to fal. `store_guard.py` keeps runs away from stores in which two of them could buy a row twice, unless the user
says that there is no other one.
"""
