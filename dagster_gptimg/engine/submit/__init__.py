"""From a request to fal's reply: the only folder that spends money.

`submit.py` waits for budget (`budget.py`) and for a place at fal (`in_flight_limit.py`), has reference images uploaded
(`reference_uploads.py`), creates the intent when the connection stands, lets one POST go, and records what it brought.
A submit that fal did not take is judged in `rejections.py`; `stop.py` says why a run buys nothing more, or slower.
`webhook_urls.py` makes the signed address that names the attempt to fal.
"""
