"""The sensor of an asset of approved images: when verdicts have come, it asks for the partitions that they concern."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import dagster as dg

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.definitions.automation.sensor_requests import SENSOR_TAG, Asked
from dagster_gptimg.definitions.automation.sensors import KEYS_PER_TICK
from dagster_gptimg.definitions.check_results import evaluation_of, spec_of
from dagster_gptimg.definitions.metadata import VERDICTS_TAG
from dagster_gptimg.definitions.resources import ImageStoreResource
from dagster_gptimg.definitions.review.approved import REVIEWED, ApprovedImages, approved_of
from dagster_gptimg.engine.maintain.approved import standing, verdicts_used
from dagster_gptimg.errors import GptImgError, UnreadableError
from dagster_gptimg.options import check
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.verdicts.verdict_columns import NO_VERDICTS, LastVerdicts, VerdictsUsed


@dataclass(frozen=True)
class Seen:
    """What a sensor has seen when it was done with all partitions: its cursor.

    Attributes:
        verdicts: the digest of the names of all verdicts.
        made: the numbers of the last materializations of images and of approved images in Dagster's event log.
    """

    verdicts: str | None = None
    made: list[int] | None = None

    @classmethod
    def parse(cls, text: str | None) -> "Seen":
        """Parse Dagster's text; an invalid one is the initial cursor: it costs a read, and starts no run twice."""
        try:
            return cls(**json.loads(text or "{}"))
        except (ValueError, TypeError):
            return cls()

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def build_review_sensor(
    asset: dg.AssetsDefinition,
    *,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    keys_per_tick: int = KEYS_PER_TICK,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
) -> dg.SensorDefinition:
    """Watch the verdicts on images, and ask for a run of each partition of approved images whose verdicts have changed.

    A tick lists the names of the verdicts, and reads image tables only when one has come. The same verdicts are asked
    for once, also after a restart or with a lost cursor; a partition whose run is going on is asked for when it has
    ended. Where a published image is approved no more, the check `reviewed` fails at once. A run that failed is asked
    for again, after 5 minutes, then 10, 20, ... up to a day. The sensor needs the resource `image_store`.

    Args:
        asset: an asset of approved images, made by `build_approved_images`.
        name: the sensor's; `<asset>_sensor` by default.
        tags: of every run.
        keys_per_tick: partitions that a tick asks for at most; the next ticks go on.
        minimum_interval_seconds: between two ticks.
        default_status: whether it runs from the start.

    Raises:
        UsageError: it is not an asset of approved images, or an argument is not what it must be.
    """
    check(keys_per_tick=keys_per_tick, minimum_interval_seconds=minimum_interval_seconds)
    check_arguments(tags=tags)
    about, named = approved_of(asset), name or f"{asset.key.to_python_identifier()}_sensor"

    def tick(context: dg.SensorEvaluationContext, image_store: ImageStoreResource) -> dg.SensorResult | dg.SkipReason:
        try:
            dataset = image_store.dataset(about.dataset)
            return _Tick(about, asset.key, context, dataset, named).result(keys_per_tick, tags or {})
        except GptImgError as error:
            return dg.SkipReason(str(error))

    return dg.SensorDefinition(
        name=named,
        evaluation_fn=tick,
        target=asset,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=f"Watches the verdicts on {about.images.to_user_string()}.",
    )


class _Tick:
    """One look at the verdicts."""

    def __init__(
        self,
        about: ApprovedImages,
        key: dg.AssetKey,
        context: dg.SensorEvaluationContext,
        dataset: Dataset,
        sensor: str,
    ) -> None:
        self._about, self._key, self._dataset, self._instance = about, key, dataset, context.instance
        self._sensor, self._before, self._log = sensor, Seen.parse(context.cursor), context.log
        self._asked = Asked(context.instance, key, sensor, tag=VERDICTS_TAG, nothing=NO_VERDICTS)
        self._withdrawn: list[dg.AssetCheckEvaluation] = []
        self._is_done = True

    def result(self, most: int, tags: Mapping[str, str]) -> dg.SensorResult:
        """Return the runs to start, the checks that fail, and the cursor. Raises `GptImgError`."""
        made = [self._last_made(key) for key in (self._about.images, self._key)]
        verdicts = LastVerdicts(self._dataset)
        seen = Seen(verdicts.digest, made)
        wanted = {key: (digest, run_key) for key, digest, run_key in self._asked.failed()}
        if seen != self._before:
            for key, digest, run_key in self._changed(verdicts):
                if len(wanted) >= most:
                    self._is_done = False
                    break
                wanted[key] = digest, run_key
                self._look(key)
        requests = [
            dg.RunRequest(
                run_key,
                tags={**tags, SENSOR_TAG: self._sensor, VERDICTS_TAG: digest},
                partition_key=key or None,
            )
            for key, (digest, run_key) in wanted.items()
        ]
        after = seen if self._is_done else replace(seen, verdicts=None)
        skip = None if requests else dg.SkipReason("no new verdict on images that are not published accordingly")
        return dg.SensorResult(requests, skip, cursor=str(after), asset_events=self._withdrawn)

    def _changed(self, verdicts: LastVerdicts) -> Iterator[tuple[str, str, str]]:
        """Yield (key, digest, run key) of the partitions that were made from other verdicts."""
        partitions = self._about.partitions
        keys: list[str | None] = [None] if partitions is None else [*partitions.get_partition_keys(self._instance)]
        for key in keys:
            used = self._used(verdicts, key)
            if used is None:
                continue
            run_key = self._asked.run_key(key or "", used.digest)
            if run_key is not None and self._asked.is_running(key or ""):
                self._is_done = False  # its table would be written by two runs, and the older one might be the last
            elif run_key is not None:
                yield key or "", used.digest, run_key

    def _used(self, verdicts: LastVerdicts, key: str | None) -> VerdictsUsed | None:
        """Return the verdicts on a partition's images; None without images, or if nobody can read which these are."""
        try:
            return verdicts_used(self._dataset, verdicts, None if key is None else str(key))
        except UnreadableError as error:  # the other partitions are asked for all the same
            self._log.warning("%s", error)
            self._is_done = False
            return None

    def _look(self, key: str) -> None:
        """Let the check fail where a published image is approved no more."""
        if not self._asked.is_made(key):
            return
        stands = standing(self._dataset, key or None, self._about.overdue_after)
        if stands.withdrawn:
            parts = self._about.partitions
            spec = spec_of(REVIEWED, self._key, "", partitions_def=None if parts is None else parts.definition)
            result = self._about.result(stands)
            self._withdrawn.append(evaluation_of(self._instance, spec, result, key or None))

    def _last_made(self, key: dg.AssetKey) -> int:
        found = self._instance.fetch_materializations(key, limit=1).records
        return found[0].storage_id if found else 0
