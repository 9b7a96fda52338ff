"""The approved images of an image asset as an asset of their own, with the check whether they are reviewed in time."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import dagster as dg

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.base.plain_text import counted
from dagster_gptimg.definitions import metadata
from dagster_gptimg.definitions.asset_events import (
    DATA_VERSION,
    PREVIEWS,
    dimension_tags,
    recorded_output,
    version_tags,
)
from dagster_gptimg.definitions.assets import MADE_FROM, definition_of, made_from
from dagster_gptimg.definitions.check_results import ERROR, WARN, check_names, evaluation_of, result_of, spec_of
from dagster_gptimg.definitions.dagster_internals import disable_dagster_warnings
from dagster_gptimg.definitions.generation import reason_of
from dagster_gptimg.definitions.image_checks import EXAMPLES, Finding
from dagster_gptimg.definitions.io_manager import loader_for
from dagster_gptimg.definitions.partitions import TablePartitions
from dagster_gptimg.definitions.run_log import lasting
from dagster_gptimg.engine.maintain.approved import Published, Standing, publish, standing
from dagster_gptimg.errors import GptImgError, UsageError
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest import has_manifest

REVIEWED = "reviewed"
"""The check that every asset of approved images has."""

_Event: TypeAlias = (
    "dg.MaterializeResult[Any] | dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.AssetCheckResult "
    "| dg.Output[None]"
)


@dataclass(frozen=True)
class ApprovedImages:
    """The definition of an asset of approved images, on which its sensor is built.

    Attributes:
        images: the key of the image asset.
        dataset: the name of its dataset.
        partitions: how both are cut, if they are.
        min_reviewed: the share of images (0 to 1) that must have a verdict, or not be overdue.
        overdue_after: how long an image may wait for its verdict; None: no time at all.
        is_blocking: whether the check keeps assets downstream from running in the same run.
    """

    images: dg.AssetKey
    dataset: str
    partitions: TablePartitions | None
    min_reviewed: float
    overdue_after: timedelta | None
    is_blocking: bool

    def result(self, stands: Standing) -> dg.AssetCheckResult:
        """Return what stands as a check result; withdrawn images are always an error."""
        rows = [*stands.withdrawn, *stands.overdue]
        enough = stands.in_time >= self.min_reviewed
        numbers = {
            "images": stands.images,
            "approved": stands.approved,
            "rejected": stands.rejected,
            "without_verdict": stands.without_verdict,
            "overdue": len(stands.overdue),
            "withdrawn": len(stands.withdrawn),
            "not_published": stands.unpublished,
            "reviewed": round((stands.approved + stands.rejected) / stands.images, 4) if stands.images else 1.0,
        }
        words = f"{_withdrawn(stands)}{self._reviewed(stands, enough=enough)}"
        finding = Finding(enough and not stands.withdrawn, words, numbers, rows[:EXAMPLES])
        severity = ERROR if stands.withdrawn or self.is_blocking else WARN
        return result_of(dg.AssetCheckSpec(REVIEWED, asset=self.images), finding, severity)

    def _reviewed(self, stands: Standing, *, enough: bool) -> str:
        if not stands.images:
            return "There is no image to review."
        if not stands.without_verdict:
            return f"Each of {counted(stands.images, 'image')} has a verdict: {stands.approved} approved."
        told = f"{stands.without_verdict} of {counted(stands.images, 'image')} have no verdict"
        if self.overdue_after is not None:
            told += f", {len(stands.overdue)} of them for more than {lasting(self.overdue_after.total_seconds())}"
        if enough:
            return f"{told}, which is allowed: {stands.approved} are approved."
        return f"{told}: review them; {self.min_reviewed:.0%} must be reviewed in time."


def _withdrawn(stands: Standing) -> str:
    if not stands.withdrawn:
        return ""
    which = "A published image is" if len(stands.withdrawn) == 1 else f"{len(stands.withdrawn)} published images are"
    return f"{which} approved no more: materialize the asset again, which publishes without. "


def approved_of(asset: object) -> ApprovedImages:
    """Return the definition of an asset of approved images.

    Raises:
        UsageError: the asset was not made with `build_approved_images`.
    """
    found = made_from(asset)
    if not isinstance(found, ApprovedImages):
        what = f"{type(asset).__name__}, as it was given,"
        if isinstance(asset, dg.AssetsDefinition):
            what = ", ".join(sorted(key.to_user_string() for key in asset.keys))
        raise UsageError(f"{what} is not an asset of approved images: make it with build_approved_images")
    return found


def build_approved_images(  # noqa: PLR0913 - its keywords are the interface
    asset: dg.AssetsDefinition,
    *,
    name: str | None = None,
    min_reviewed: float = 1.0,
    overdue_after: timedelta | float | None = None,
    blocking: Collection[str] = (),
    group_name: str | None = None,
    owners: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
    automation_condition: dg.AutomationCondition[Any] | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
) -> dg.AssetsDefinition:
    """An asset of the approved images of an image asset: the image table with these only, in the same partitions.

    A run reads the verdicts once, and publishes the images that are approved at that moment; assets downstream take
    their table as an argument, as that of an image asset. Which verdicts were used stands in the materialization. A run
    buys nothing, and needs the resource `image_store` only.

    The asset has the check `reviewed`, which can also be run by itself. The check fails when too few images have a
    verdict in time, and when an image that was published is approved no more: `build_review_sensor` asks for a run
    then.

    Args:
        asset: an image asset.
        name: the asset's; by default the image asset's, followed by `_approved`.
        min_reviewed: the share of images (0 to 1) that must have a verdict, or not be overdue, for `reviewed` to pass.
        overdue_after: how long an image may be stored without a verdict, as a `timedelta` or in seconds; by default no
            time at all, so that each image without a verdict counts.
        blocking: `["reviewed"]`: keeps assets downstream from running in the same run when the check fails.
        group_name: as in `dg.asset`; by default the image asset's.
        owners: as in `dg.asset`.
        tags: as in `dg.asset`.
        description: as in `dg.asset`.
        automation_condition: when to publish anew, e.g. `dg.AutomationCondition.eager()` after each run of the images.
        backfill_policy: as in `dg.asset`.

    Raises:
        UsageError: `asset` is not an image asset, or an argument is not what it must be.
    """
    check_arguments(min_reviewed=min_reviewed, overdue_after=overdue_after, blocking=blocking)
    check_arguments(group_name=group_name, tags=tags)
    check_names(blocking, [REVIEWED])
    if name is not None:
        check_arguments(name=name)
    made, parent = definition_of(asset).generation, asset.key
    key = dg.AssetKey([*parent.path[:-1], name or f"{parent.path[-1]}_approved"])
    after = overdue_after
    if after is not None and not isinstance(after, timedelta):
        after = timedelta(seconds=float(after))
    about = ApprovedImages(parent, made.dataset, made.partitions, min_reviewed, after, bool(blocking))
    partitions_def = made.partitions.definition if made.partitions is not None else None
    words = "Enough images have a verdict in time, and each published image is still approved."
    spec = spec_of(REVIEWED, key, words, about.is_blocking, partitions_def)
    loader = f"{key.to_python_identifier()}__loader"
    out = dg.AssetOut(
        key=key,
        is_required=False,  # a run of the check alone publishes nothing
        io_manager_key=loader,
        group_name=group_name or asset.group_names_by_key.get(parent),
        owners=owners,
        tags=tags,
        kinds={"parquet"},
        description=description or f"The approved images of {parent.to_user_string()}, and no others.",
        metadata={"dataset": made.dataset},
        automation_condition=automation_condition,
    )

    def approved_images(context: dg.AssetExecutionContext) -> Iterator[_Event]:
        try:
            yield from _Step(about, spec, context).events()
        except GptImgError as error:
            raise dg.Failure(str(error), metadata={"reason": reason_of(error)}, allow_retries=False) from None

    setattr(approved_images, MADE_FROM, about)
    with disable_dagster_warnings():
        decorate = dg.multi_asset(
            name=key.to_python_identifier(),
            outs={key.path[-1]: out},
            deps=[parent],
            check_specs=[spec],
            can_subset=True,  # so that the check can be run by itself
            partitions_def=partitions_def,
            backfill_policy=backfill_policy,
            resource_defs={loader: loader_for(made.dataset, approved=True)},
            required_resource_keys={"image_store"},
        )
        return decorate(approved_images)


class _Step:
    """One run: publishes the approved images of its partitions, and then looks at what stands of them."""

    def __init__(self, about: ApprovedImages, spec: dg.AssetCheckSpec, context: dg.AssetExecutionContext) -> None:
        self._about, self._spec, self._context = about, spec, context
        self._dataset: Dataset = context.resources.image_store.dataset(about.dataset)
        self._publishes = spec.asset_key in context.selected_asset_keys
        self._checks = spec.key in context.selected_asset_check_keys

    def events(self) -> Iterator[_Event]:
        """Yield materializations and check results, one a partition; then the outputs.

        The events of several partitions are made here, because Dagster 1.13 records a result for all of them.
        """
        keys, is_whole_run = self._keys()
        is_one, failed = len(keys) == 1 and is_whole_run, list[dg.AssetCheckSeverity]()
        for key in keys:
            if self._publishes:
                yield self._published(key, is_one=is_one, preview=len(keys) <= PREVIEWS)
            if self._checks:
                named = None if key is None else str(key)
                result = self._about.result(standing(self._dataset, named, self._about.overdue_after))
                failed += [] if result.passed else [result.severity]
                run = self._context.run_id if self._publishes else None
                yield evaluation_of(self._context.instance, self._spec, result, named, run)
        if self._checks:
            if not is_whole_run:
                yield self._summary(len(keys), failed)
            yield dg.Output(None, self._spec.get_python_identifier())
        if self._publishes and not is_one:
            yield from recorded_output(self._context)

    def _keys(self) -> tuple[Sequence[str | None], bool]:
        """Return the run's partitions; of a check without a partition, as the UI starts it, all that have images."""
        partitions, context = self._about.partitions, self._context
        if partitions is None:
            return [None], True
        if context.has_partition_key or context.has_partition_key_range:
            return list(context.partition_keys), True
        every = partitions.get_partition_keys(context.instance)
        return [key for key in every if has_manifest(self._dataset, key)], False

    def _summary(self, partitions: int, failed: Sequence[dg.AssetCheckSeverity]) -> dg.AssetCheckEvaluation:
        finding = Finding(not failed, f"{len(failed)} of {partitions} partitions failed", {"partitions": partitions})
        result = result_of(self._spec, finding, ERROR if ERROR in failed else WARN)
        return evaluation_of(self._context.instance, self._spec, result, None)

    def _published(self, key: str | None, *, is_one: bool, preview: bool) -> _Event:
        found = publish(self._dataset, None if key is None else str(key))
        version, tags = metadata.data_version(found.table), {metadata.VERDICTS_TAG: found.used.digest}
        where = "" if key is None else f"{key[:80]!r}: "
        self._context.log.info("%s%s of %s images are approved", where, found.table.num_rows, found.images)
        about = self._metadata(found, is_partition=key is not None, preview=preview)
        if is_one:
            return dg.MaterializeResult(metadata=about, data_version=version, tags=tags)
        tags = {**version_tags(self._context), DATA_VERSION: version.value, **dimension_tags(key or ""), **tags}
        return dg.AssetMaterialization(self._spec.asset_key, metadata=about, partition=key, tags=tags)

    def _metadata(self, found: Published, *, is_partition: bool, preview: bool) -> dict[str, Any]:
        approved = found.table.num_rows
        about: dict[str, Any] = {
            "images": found.images,
            "approved": approved,
            "rejected": found.rejected,
            "without_verdict": found.images - approved - found.rejected,
            "reviewed": round(found.reviewed, 4),
            "verdicts": found.used.images,
            "verdicts_digest": found.used.digest,
        }
        about |= metadata.of_table(found.table, found.uri, partitioned=is_partition)
        about |= metadata.of_manifest(found.table, self._dataset, preview=preview)
        return about | metadata.same_columns(found.table, self._about.images)
