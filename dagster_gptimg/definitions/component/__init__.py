"""The YAML interface: `type: dagster_gptimg.GptImgComponent` in a `defs.yaml`."""

from dagster_gptimg.definitions.component.component import GptImgComponent

__all__ = ["GptImgComponent"]
