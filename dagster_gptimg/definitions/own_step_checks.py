"""The checks that an image asset's own step makes: `no_row_in_doubt`, and those of `gptimg_asset(checks=...)`."""

from collections.abc import Iterator

import dagster as dg

from dagster_gptimg.base.plain_text import words_of
from dagster_gptimg.base.row_status import IN_DOUBT
from dagster_gptimg.definitions import image_checks
from dagster_gptimg.definitions.check_results import (
    NO_ROW_IN_DOUBT,
    OF_IMAGES,
    WARN,
    ImageChecks,
    evaluation_of,
    images_of,
    result_of,
)
from dagster_gptimg.definitions.generation import ImageGeneration
from dagster_gptimg.definitions.image_checks import Finding, ImageTable
from dagster_gptimg.engine.record.summary import Summary


class OwnChecks:
    """The checks of one run of an asset, each with a result for each partition.

    The events are made here, because Dagster 1.13 turns a result into one without a partition in a run over several.
    """

    def __init__(self, made: ImageGeneration, context: dg.AssetExecutionContext) -> None:
        """`context`: of the asset's step."""
        self._made, self._context, self._checks = made, context, made.checks or ImageChecks(include=[])
        ours = {NO_ROW_IN_DOUBT, *self._checks.names}
        selected = context.selected_asset_check_keys
        self._specs = [s for s in context.assets_def.check_specs if s.name in ours and s.key in selected]
        self._not_made = dict[str, str]()

    def of(self, partition: str | None, summary: Summary | None, *, is_made: bool) -> Iterator[dg.AssetCheckEvaluation]:
        """Yield the check results of a partition, after its materialization.

        Args:
            partition: the partition of the images.
            summary: the run's summary; None if nothing was made, so that there is nothing to check.
            is_made: whether there is an image table; without one (a plan) only `no_row_in_doubt` is reported.
        """
        if summary is None:
            return
        images: ImageTable | None = None
        for spec in self._specs:
            if not is_made and spec.name != NO_ROW_IN_DOUBT:
                continue
            try:
                if is_made and images is None:
                    dataset, run = self._made.dataset_in(self._context), self._context.run_id
                    model = self._made.model_in(self._context)
                    images = images_of(dataset, model, [partition], self._checks.limits, run)
                finding = self._look(spec.name, images, summary)
            except Exception as error:  # noqa: BLE001 - what was paid for is in the store, whatever a look at it raises
                # A check that could not be made is not a failed one.
                why = f"{type(error).__name__}: {words_of(error)}"
                self._context.log.warning("the check %s could not be made: %s", spec.name, why)
                if spec.blocking:
                    self._not_made[spec.name] = why
                continue
            severity = WARN if spec.name == NO_ROW_IN_DOUBT else self._checks.severity_of(spec.name)
            result = result_of(spec, finding, severity)
            yield evaluation_of(self._context.instance, spec, result, partition, self._context.run_id)

    def outputs(self) -> Iterator[dg.Output[None]]:
        """Yield the outputs for the checks, at the end of a step; downstream assets wait for them.

        Raises:
            dg.Failure: a blocking check could not be made.
        """
        if self._not_made:
            name, why = next(iter(self._not_made.items()))
            words = f"the blocking check {name} could not be made: {why}"
            raise dg.Failure(words, metadata={"reason": "store"}, allow_retries=False)
        for spec in self._specs:
            yield dg.Output(None, spec.get_python_identifier())

    @staticmethod
    def _look(name: str, images: ImageTable | None, summary: Summary) -> Finding:
        if name != NO_ROW_IN_DOUBT:
            return OF_IMAGES[name].look(images) if images else Finding(passed=False, words="there is no image table")
        if images is not None:
            return image_checks.no_row_in_doubt(images)
        counts = {status.value: getattr(summary, status) for status in IN_DOUBT}
        words = (
            f"{counts['held']} rows are held, {counts['lost']} lost, {counts['missing']} missing: "
            "they may have been paid for."
            if any(counts.values())
            else "No row is held, lost or missing."
        )
        return Finding(not any(counts.values()), words, dict(counts))
