"""The YAML front door: `type: dagster_gptimg.GptImgComponent` in a `defs.yaml`."""

from dagster_gptimg.definitions.component.component import GptImgComponent

__all__ = ["GptImgComponent"]
