"""The settings as a flat list: dotted keys and environment variables."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from wtp.config.schema import Settings, find


def setting_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Every dotted key of the settings, in the order of the schema."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_keys(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def variables() -> dict[str, str]:
    """Environment variable to the dotted key that it sets."""
    return {env: key for key in setting_keys() if (env := find(key)[2])}
