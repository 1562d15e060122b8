"""Errors that say which image they are about."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from ..errors import ImageError

__all__ = ["name_error", "naming", "naming_all"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def naming(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Have an ``ImageError`` that leaves ``method`` carry the ``name`` of the method's object as its path.

    What reads structures need not know whose they are: it raises errors without a path, and they get it where they
    leave the image. An error that has a path already (that of an extra device) keeps it.
    """

    @functools.wraps(method)
    def named(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        try:
            return method(*arguments, **options)
        except ImageError as error:
            name_error(error, arguments[0])
            raise

    return named


def naming_all(method: Callable[_Arguments, Iterator[_Result]]) -> Callable[_Arguments, Iterator[_Result]]:
    """Name errors as `naming` does, for a method that returns an iterator: those of the call and of each step."""
    begin = naming(method)

    @functools.wraps(method)
    def named(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> Iterator[_Result]:
        return _each(begin(*arguments, **options), arguments[0])

    return named


def _each(found: Iterator[_Result], owner: Any) -> Iterator[_Result]:
    try:
        yield from found
    except ImageError as error:
        name_error(error, owner)
        raise


def name_error(error: ImageError, owner: Any) -> None:
    """Give an error the ``name`` of its ``owner`` as its path, unless it has one."""
    if error.path is None:
        error.path = owner.name
