"""The app of Celery's workers: `celery -A example_project.deploy.celery.app worker -c 1 -Q dagster`.

(`dagster-celery worker start -y` has its own app, which takes neither these settings nor another broker.)

With these settings a step whose worker dies is delivered again, and so may run twice. An image asset buys and loses
nothing by that; a step that does something else twice when it runs twice (sends mail, adds rows) should not be on these
workers: give it a queue of its own (`dagster-celery/queue`), and to that queue workers without them.
"""

import os

from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_task

BROKER = os.environ["BROKER_URL"]
UNHEARD = int(os.environ.get("VISIBILITY_TIMEOUT", "3600"))
"""Seconds until Redis gives what a worker has taken, and not ended, to another one.

So long does a step wait whose machine has died; and a step that takes longer is delivered a second time while it runs.
"""

SETTINGS = {
    "task_acks_late": True,  # a step leaves the queue when it has ended, not when it is taken
    "task_reject_on_worker_lost": True,  # and goes back at once when its process is killed
    "worker_prefetch_multiplier": 1,  # a worker takes what it executes, and no second step to wait behind it
    "broker_transport_options": {"visibility_timeout": UNHEARD, "unacked_restore_throttle": 1},
}

app = make_app({"broker": BROKER, "backend": BROKER, "config_source": SETTINGS})
execute_plan = create_task(app)
