"""Make the example's DAGSTER_HOME and print it."""

from pathlib import Path

HOME = Path(".demo").absolute()


def dagster_home() -> Path:
    """The folder in which Dagster keeps the example's runs; made when it is not there."""
    home = HOME / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n", encoding="utf-8")
    return home


if __name__ == "__main__":
    print(dagster_home())  # noqa: T201 - that is what it is for
