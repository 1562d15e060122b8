"""The names that the package offers at its top."""

from __future__ import annotations

import ast
import importlib.resources
import inspect
import subprocess
import sys
import typing
from collections.abc import Callable
from typing import Any

import pytest

import mkfs_erofs_py
from mkfs_erofs_py import BuildOptions, build_image, errors

#: Names of types that are no classes.
ALIASES = {"Progress"}
FUNCTIONS = [name for name in mkfs_erofs_py.__all__ if inspect.isfunction(getattr(mkfs_erofs_py, name))]


@pytest.mark.parametrize("name", mkfs_erofs_py.__all__)
def test_every_name_offered_is_there(name: str) -> None:
    thing = getattr(mkfs_erofs_py, name)
    assert name in ALIASES or thing.__name__ == name


def test_type_checkers_see_the_names_offered_and_no_others() -> None:
    """They read the imports and know nothing of what is loaded on use."""
    tree = ast.parse(inspect.getsource(mkfs_erofs_py))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    names = [alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == sorted(mkfs_erofs_py.__all__)
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert "__getattr__" not in defined, "to a type checker, a module with one has every name"


def test_every_error_is_offered() -> None:
    raised = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, errors.ErofsError) and not name.startswith("_")
    }
    assert raised <= set(mkfs_erofs_py.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = mkfs_erofs_py.nonsense  # type: ignore[attr-defined]


def test_importing_the_package_loads_neither_builder_nor_reader() -> None:
    code = "import sys, mkfs_erofs_py; print(*[m for m in sys.modules if m.startswith('mkfs_erofs_py.')])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.split() == []


def test_type_checkers_are_told_to_look() -> None:
    assert importlib.resources.files(mkfs_erofs_py).joinpath("py.typed").is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_options_are_named_and_typed(name: str) -> None:
    """An editor completes each option, and a type checker finds the wrong ones: no ``**options``, nothing untyped."""
    function: Callable[..., Any] = getattr(mkfs_erofs_py, name)
    hints = typing.get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            names = typing.get_args(hints[parameter.name])[0]
            assert typing.get_type_hints(names) == typing.get_type_hints(BuildOptions), "every option, by its name"
            continue
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        assert hints[parameter.name] is not Any
        if parameter.default is not parameter.empty and parameter.name not in ("name", "options", "ranges"):
            assert parameter.kind is parameter.KEYWORD_ONLY, f"{parameter.name} may be given by place"
    assert hints["return"] is not Any


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_takes_long_reports_progress(name: str) -> None:
    progress = inspect.signature(getattr(mkfs_erofs_py, name)).parameters["progress"]
    assert progress.default is None
    assert progress.kind is progress.KEYWORD_ONLY


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_unknown_option_is_a_type_error_in_one_line(name: str) -> None:
    with pytest.raises(TypeError, match=r"^[^\n]*'nonsense'[^\n]*$"):
        getattr(mkfs_erofs_py, name)(b"image", b"other", nonsense=1)


@pytest.mark.parametrize(
    "name", [name for name in mkfs_erofs_py.__all__ if hasattr(getattr(mkfs_erofs_py, name), "as_dict")]
)
def test_results_are_values(name: str) -> None:
    kind = getattr(mkfs_erofs_py, name)
    assert kind.__dataclass_params__.frozen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pcluster": "64k"}, "pcluster='64k': int or None is wanted, not str"),
        ({"block_size": True}, "block_size=True: int is wanted, not bool"),
        ({"label": "text"}, "label='text': bytes is wanted, not str"),
        ({"exclude_paths": ["a"]}, "exclude_paths=['a']: tuple is wanted, not list"),
        ({"uuid": "1"}, "uuid='1': UUID or None is wanted, not str"),
    ],
)
def test_a_build_option_of_a_wrong_type_is_a_type_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as refused:
        build_image("image", "source", **changes)
    assert str(refused.value) == message
