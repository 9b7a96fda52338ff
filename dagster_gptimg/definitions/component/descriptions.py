"""The JSON Schema of a component's attributes, with the descriptions that `dg` and Dagster's UI show.

Dagster makes the schema of a component from its class, and in 1.13 drops the description of every field that has a
default. Here each attribute gets the description of its field, or else of the option with its name.
"""

from typing import Any

import dagster as dg

from dagster_gptimg.definitions.component.misspelt_attributes import say_what_is_meant
from dagster_gptimg.options import OPTIONS


class Described(dg.Model, dg.Resolvable):
    """Base of attribute classes whose descriptions are in the schema.

    Misspelt attributes of a component are reported.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **more: Any) -> None:  # noqa: ANN401 - pydantic's hook
        super().__pydantic_init_subclass__(**more)
        schema = cls.model()
        for name, field in schema.model_fields.items():
            own = cls.model_fields.get(name)
            said = (own.description if own is not None else None) or field.description
            field.description = said or (OPTIONS[name].description if name in OPTIONS else None)
        if issubclass(cls, dg.Component):
            say_what_is_meant(schema)
        schema.model_rebuild(force=True)
