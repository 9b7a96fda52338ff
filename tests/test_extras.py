"""A file system whose package is missing is told with the extra that brings it, wherever an address may stand."""

from __future__ import annotations

import sys

import pytest
from fsspec.registry import _registry

from dagster_gptimg.errors import GptImgError
from dagster_gptimg.store.root import Store
from tests.prompts.support import rows


@pytest.mark.parametrize("face", [Store, rows])
@pytest.mark.parametrize(
    ("protocol", "package", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs"), ("abfs", "adlfs", "abfs")]
)
def test_a_missing_package_is_told_with_its_extra(
    face: object, protocol: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(_registry, protocol, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(GptImgError, match=rf"pip install 'dagster-gptimg\[{extra}\]'$"):
        face(f"{protocol}://bucket/table.csv")  # type: ignore[operator]
