"""The checks of images: their names, and their results for Dagster. What each looks at is in `image_checks.py`.

Either the asset's own step makes them (`gptimg_asset(checks=...)`), or a separate step (`build_gptimg_checks`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import dagster as dg
import pyarrow as pa

from dagster_gptimg.argument_rules import check_arguments
from dagster_gptimg.definitions import image_checks
from dagster_gptimg.definitions.dagster_internals import CheckedMaterialization, disable_dagster_warnings
from dagster_gptimg.definitions.image_checks import Finding, ImageTable, Limits
from dagster_gptimg.errors import GptImgError, UsageError
from dagster_gptimg.fal.registry.model import FalModel
from dagster_gptimg.options import check
from dagster_gptimg.store.dataset import Dataset
from dagster_gptimg.store.manifest import has_manifest, read_manifest

ERROR = dg.AssetCheckSeverity.ERROR
WARN = dg.AssetCheckSeverity.WARN
NO_ROW_IN_DOUBT = "no_row_in_doubt"
"""The check that every image asset has: it warns while paid or possibly paid images are not in the store."""


class Kind(NamedTuple):
    """One check of images: how it inspects an image table, and its default severity."""

    look: Callable[[ImageTable], Finding]
    severity: dg.AssetCheckSeverity


OF_IMAGES: Mapping[str, Kind] = {
    "rows_settled": Kind(image_checks.rows_settled, ERROR),
    "failure_rate": Kind(image_checks.failure_rate, ERROR),
    "files_as_recorded": Kind(image_checks.files_as_recorded, ERROR),
    "images_decode": Kind(image_checks.images_decode, ERROR),
    "image_dimensions": Kind(image_checks.image_dimensions, WARN),
    "no_blank_images": Kind(image_checks.no_blank_images, WARN),
    "no_censored_images": Kind(image_checks.no_censored_images, WARN),
    "no_repeated_images": Kind(image_checks.no_repeated_images, WARN),
    "provenance_kept": Kind(image_checks.provenance_kept, ERROR),
    "cost_within_budget": Kind(image_checks.cost_within_budget, ERROR),
}
NO_TABLE = Finding(passed=False, words="there is no image table yet")


@dataclass(frozen=True)
class ImageChecks:
    """Checks of its images that an asset's own step makes, for each partition as soon as it is made.

    They run with every run of the asset, also when it fails: no process of their own, no second reading of the table.

    Attributes:
        include: names of the checks; all that apply, by default.
        severity: by name; errors, but for `image_dimensions`, `no_blank_images`, `no_censored_images` and
            `no_repeated_images`, which warn.
        blocking: names of the checks that fail the step, so that assets downstream in the same run do not run. What was
            made stays materialized.
        max_failure_rate: the share of rows (0 to 1) that may be without images, refused ones among them.
        max_cost_usd: US dollars that the images of a partition (or of the whole table) may have cost, over all runs.
            Without it there is no `cost_within_budget`.
        sample: images that `files_as_recorded`, `images_decode`, `no_blank_images` and `provenance_kept` read; other
            ones in each run. None reads all.

    Raises:
        UsageError: a name is not that of a check, or a blocking check would only warn.
    """

    include: Collection[str] | None = None
    severity: Mapping[str, dg.AssetCheckSeverity] = field(default_factory=dict)
    blocking: Collection[str] = ()
    max_failure_rate: float = 0.05
    max_cost_usd: float | None = None
    sample: int | None = 20

    def __post_init__(self) -> None:
        check(max_failure_rate=self.max_failure_rate, max_cost_usd=self.max_cost_usd, sample=self.sample)
        check_arguments(include=self.include, severity=self.severity, blocking=self.blocking)
        object.__setattr__(self, "severity", self.severity or {})
        named = [*(self.include or ()), *self.severity, *self.blocking]
        check_names(named, OF_IMAGES)
        check_blocking(self.blocking, self.severity_of)

    @property
    def names(self) -> list[str]:
        """The names of the checks that are made, in a fixed order."""
        if self.include is not None:
            return [name for name in OF_IMAGES if name in self.include]
        return [name for name in OF_IMAGES if name != "cost_within_budget" or self.max_cost_usd is not None]

    @property
    def limits(self) -> Limits:
        """The limits for the checks."""
        cost = None if self.max_cost_usd is None else Decimal(str(self.max_cost_usd))
        return Limits(self.max_failure_rate, cost, self.sample)

    def severity_of(self, name: str) -> dg.AssetCheckSeverity:
        """How severe a check is.

        Args:
            name: a check's name.
        """
        return self.severity.get(name, ERROR if name in self.blocking else OF_IMAGES[name].severity)

    def specs(self, key: dg.AssetKey, partitions_def: dg.PartitionsDefinition[str] | None) -> list[dg.AssetCheckSpec]:
        """The specs of these checks, for an asset.

        Args:
            key: the asset's.
            partitions_def: its partitions: then each check has one result a partition. None for an asset without.
        """
        return [
            spec_of(name, key, str(OF_IMAGES[name].look.__doc__), name in self.blocking, partitions_def)
            for name in self.names
        ]


def check_names(named: Iterable[str], there_are: Collection[str]) -> None:
    """Raise `UsageError` if a name is not that of a check."""
    if unknown := [name for name in named if name not in there_are]:
        raise UsageError(f"there is no check {unknown[0]!r}; the checks are {', '.join(there_are)}")


def check_blocking(blocking: Collection[str], severity_of: Callable[[str], dg.AssetCheckSeverity]) -> None:
    """Raise `UsageError` if a blocking check would only warn."""
    if warning := [name for name in blocking if severity_of(name) == WARN]:
        raise UsageError(f"the check {warning[0]!r} cannot block if it only warns: Dagster continues after a warning")


def spec_of(
    name: str,
    key: dg.AssetKey,
    words: str,
    blocking: bool = False,  # noqa: FBT001, FBT002
    partitions_def: dg.PartitionsDefinition[str] | None = None,
    prefix: str = "",
    deps: Collection[dg.AssetKey] = (),
) -> dg.AssetCheckSpec:
    """Return the spec of one check; `metadata["check"]` has its name without the prefix."""
    with disable_dagster_warnings():  # partitions of checks are in preview: a warning of ours, in each process
        return dg.AssetCheckSpec(
            f"{prefix}{name}",
            asset=key,
            description=words,
            blocking=blocking,
            partitions_def=partitions_def,
            additional_deps=deps,
            metadata={"check": name},
        )


def in_doubt_spec(key: dg.AssetKey, partitions_def: dg.PartitionsDefinition[str] | None) -> dg.AssetCheckSpec:
    """Return the spec of `no_row_in_doubt`."""
    words = "No row is held, lost or missing: none may have been paid for without its image being in the store."
    return spec_of(NO_ROW_IN_DOUBT, key, words, partitions_def=partitions_def)


def images_of(
    dataset: Dataset, model: FalModel, keys: Sequence[str | None], limits: Limits, seed: str = ""
) -> ImageTable | None:
    """Return the manifests of these partitions as one table; None if there is none."""
    tables = [read_manifest(dataset, key) for key in keys if has_manifest(dataset, key)]
    return ImageTable(pa.concat_tables(tables), dataset, model, limits, seed) if tables else None


def result_of(spec: dg.AssetCheckSpec, finding: Finding, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    """Return a finding as a Dagster check result."""
    found: dict[str, Any] = dict(finding.numbers)
    if finding.rows:
        found["row_ids"] = dg.MetadataValue.json(list(finding.rows))
    return dg.AssetCheckResult(
        passed=finding.passed,
        asset_key=spec.asset_key,
        check_name=spec.name,
        severity=severity,
        description=finding.words,
        metadata=found,
    )


def evaluation_of(
    instance: dg.DagsterInstance,
    spec: dg.AssetCheckSpec,
    result: dg.AssetCheckResult,
    partition: str | None,
    run: str | None = None,
) -> dg.AssetCheckEvaluation:
    """Return a result as Dagster records it, with the materialization that was checked.

    Args:
        instance: Dagster's instance.
        spec: the check.
        result: its result.
        partition: the partition whose images were checked; None for a table without partitions.
        run: only a materialization of this run is referred to, if there is one; None: of any run.
    """
    wanted = dg.AssetRecordsFilter(asset_key=spec.asset_key, asset_partitions=[partition] if partition else None)
    latest = [r for r in instance.fetch_materializations(wanted, limit=1).records if run in {None, r.run_id}]
    return dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=result.passed,
        metadata=result.metadata,
        target_materialization_data=next(
            (CheckedMaterialization(run_id=r.run_id, storage_id=r.storage_id, timestamp=r.timestamp) for r in latest),
            None,
        ),
        severity=result.severity,
        description=result.description,
        blocking=spec.blocking,
        partition=partition,
    )


@contextmanager
def errors_fail_the_step() -> Iterator[None]:
    """Raise an error of the step if a check cannot be made, which is not the same as a failed check."""
    try:
        yield
    except GptImgError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
