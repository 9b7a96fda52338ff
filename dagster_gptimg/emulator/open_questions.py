"""Facts on which fal's documents are silent or contradictory.

There is a switch for each such fact that matters for money or for a client's correctness. The default is the likelier
reading; a client must be right in every position. docs/fal-wire.md has fal's statements.
"""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Readings:
    """One reading of fal's documents. All times are seconds."""

    # -- submit

    submit_code: Literal[200, 201, 202] = 200
    """The HTTP status of an accepted submit. fal prints none; its clients take any 2xx (docs/fal-wire.md#submit)."""
    validates_at_submit: bool = False
    """Whether wrong inputs are refused by the POST itself: 422, no request. Otherwise the request ends so
    (docs/fal-wire.md#submit)."""
    full_id_urls: bool = False
    """Whether the returned URLs have the full endpoint id and a result that ends in `/response`, as one page shows.
    Otherwise `owner/app`, as the others do (docs/fal-wire.md#urls). Both kinds are served."""
    unauthorized: Literal["reason", "word"] = "reason"
    """The body of a 401: fal's reason, or just `{"detail": "Unauthorized"}` (docs/fal-wire.md#authentication)."""
    retry_hint: Literal["X-Fal-Needs-Retry", "X-Fal-Retryable"] = "X-Fal-Needs-Retry"
    """The header that says whether to try again: `1` or `0` by newer pages, `true` or `false` by older ones
    (docs/fal-wire.md#error-bodies)."""
    retry_after: float | None = None
    """The `Retry-After` of a 429.

    None: no header; fal's pages do not mention it (docs/fal-wire.md#limits-and-lifetimes).
    """

    # -- status, result, cancel

    status_tells_model_errors: bool = False
    """Whether a status says `error` and `error_type` for model errors, too. Otherwise for fal's failures only
    (docs/fal-wire.md#status)."""
    stream_tells_at_once: bool = True
    """Whether a stream sends the status on connect.

    Otherwise the first event is the first change (docs/fal-wire.md#status-stream).
    """
    result_before_end: Literal[400, 202] = 400
    """The answer to a result that is asked for too early: 400 "Request is still in progress", or 202
    (docs/fal-wire.md#result)."""
    expired: Literal["not_found", "gone", "completed"] = "not_found"
    """The answer for a request whose result has expired (docs/fal-wire.md#status).

    404; 410; or the status stays COMPLETED and only the result is 404.
    """
    cancel_answer: Literal["OK", "CANCELLATION_REQUESTED", "success"] = "OK"
    """The answer to a cancel in the queue (docs/fal-wire.md#cancel).

    200 `OK`; 202 as for one in progress, by the pages that know no OK; 200 `{"success": true}`, by the models' OpenAPI.
    """
    cancelled_is_gone: bool = False
    """Whether a request cancelled in the queue answers 404 from then on. Otherwise COMPLETED and 499
    (docs/fal-wire.md#cancel)."""
    cancel_stops_running: bool = False
    """Whether a cancel of a request in progress ends it, with 499. Otherwise it completes (docs/fal-wire.md#cancel)."""
    stopped_billed: bool = True
    """Whether a request in progress that a cancel ends is billed in full. Otherwise it is free
    (docs/fal-wire.md#cancel)."""

    # -- errors

    error_details: Literal["list", "text"] = "list"
    """Model errors as a list of details with types, or, since fal says that not every endpoint follows that yet, as a
    text (docs/fal-wire.md#error-bodies)."""
    downstream_error_code: Literal[500, 400] = 500
    """The HTTP status of `downstream_service_error`: 500 by one copy of the page, 400 by another. Free in both
    (docs/fal-wire.md#model-error-types)."""

    # -- money

    refusals_billed: bool = False
    """Whether a content-policy 422 costs what its images would have cost (fal: "may be charged")
    (docs/fal-wire.md#billing-of-failures)."""
    units_told: Literal["all", "successes", "none"] = "all"
    """The results that have the header `X-Fal-Billable-Units`.

    fal's server code omits it from some errors, and no page promises it (docs/fal-wire.md#billing-of-failures).
    """
    retries_billed: bool = False
    """Whether a request that fal itself retried costs each attempt. fal: only what ends well; not said for it
    (docs/fal-wire.md#billing-of-failures)."""
    rounding: Literal["printed", "always", "never"] = "printed"
    """Rounding up to a whole cent a request: where a model's page prints that rule, for all models, for none
    (docs/fal-wire.md#prices-and-units)."""
    auto_quality: Literal["low", "medium", "high"] = "medium"
    """The quality that `auto` is billed as (docs/fal-wire.md#prices-and-units)."""
    auto_size: Literal["1024x1024", "1536x1024", "1024x1536"] = "1024x1024"
    """The size that `auto` is billed as (docs/fal-wire.md#prices-and-units)."""

    megapixel: Literal[1_048_576, 1_000_000] = 1_048_576
    """Pixels in a megapixel of the upscalers, whose pages do not say it (docs/fal-wire.md#prices-and-units)."""
    megapixels_rounded: bool = True
    """Whether megapixels of Clarity Upscaler are billed rounded up, or as they are
    (docs/fal-wire.md#prices-and-units)."""
    compute_seconds_billed: bool = True
    """Whether compute seconds of BiRefNet cost what an older page says, as one bill suggests. Otherwise nothing, as
    the newer page says (docs/fal-wire.md#prices-and-units)."""

    # -- history and billing events

    history_lag: float = 0.0
    """Seconds after its end until a request appears in the history; fal gives no figure (docs/fal-wire.md#history)."""
    history_in_progress: bool = False
    """Whether the history shows requests in progress, with `ended_at` null (docs/fal-wire.md#history)."""
    history_queued: bool = False
    """Whether it shows those in the queue, too, as started when they were sent: `started_at` is required
    (docs/fal-wire.md#history)."""
    history_time: Literal["ended", "sent"] = "ended"
    """The time by which `start` and `end` filter it: that of the end (in progress: of the start), or of the submit."""
    history_input: Literal["sent", "processed"] = "sent"
    """`json_input`: as it was sent; or with the model's defaults filled in, and data URIs as files on the CDN
    (docs/fal-wire.md#history)."""
    tagged_billing: bool = False
    """Whether the account has billing events by tag, which fal enables on request (docs/fal-wire.md#billing-events)."""
    billing_lag: float = 0.0
    """Seconds after its end until a request appears in the billing events (docs/fal-wire.md#billing-events).

    fal says that tagged ones are delayed.
    """

    # -- files and webhooks

    media_seconds: float | None = None
    """How long the CDN keeps output files of requests that say nothing of it. None: for ever, by the page on headers;
    the FAQ says "at least 7 days" (docs/fal-wire.md#limits-and-lifetimes)."""
    webhook_signed_once: bool = False
    """Whether a repeated delivery keeps the time and signature of the end.

    Otherwise each one is signed again (docs/fal-wire.md#webhooks).
    """
