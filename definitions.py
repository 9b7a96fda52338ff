"""What `dagster dev` loads: the example project."""

from example_project.definitions import defs

__all__ = ["defs"]
