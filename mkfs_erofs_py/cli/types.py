"""Values of options as they are written, read by the parsers of `mkfs_erofs_py.units`."""

from __future__ import annotations

import uuid
from typing import Any

import click

from ..errors import UsageError
from ..units import parse_size, parse_uuid

__all__ = ["SIZE", "UUID"]


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on
    """A number of bytes: decimal, 0x… or with k, m, g behind it."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ARG002
        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except UsageError as error:
            raise UsageError(f"{param.opts[0] if param else 'size'} {value[:40]}: {error}") from None


class _Uuid(click.ParamType):  # type: ignore[type-arg]
    """A UUID, ``clear`` or ``random``."""

    name = "uuid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> uuid.UUID:
        if isinstance(value, uuid.UUID):
            return value
        try:
            return parse_uuid(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


SIZE = _Size()
UUID = _Uuid()
