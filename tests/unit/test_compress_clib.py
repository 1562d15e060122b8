"""Finding C libraries."""

from __future__ import annotations

from ctypes import c_char_p, c_int

import pytest

from mkfs_erofs_py.compress.clib import bind, extension_files, shared_library
from mkfs_erofs_py.errors import UnsupportedError

VERSION = {"LZ4_versionNumber": (c_int, ())}


def test_the_wheel_of_lz4_carries_its_library() -> None:
    (file,) = extension_files("lz4", "block/_block")
    assert bind("LZ4", [file], VERSION).LZ4_versionNumber() >= 1_09_04


def test_the_first_file_that_has_everything_is_taken() -> None:
    (good,) = extension_files("lz4", "block/_block")
    (other,) = extension_files("zstandard", "_cffi")
    assert bind("LZ4", ["/nowhere/lib.so", other, good], VERSION).LZ4_versionNumber() > 0


def test_a_prototype_is_not_shared_with_other_users_of_the_library() -> None:
    (file,) = extension_files("lz4", "block/_block")
    text = bind("LZ4", [file], {"LZ4_versionString": (c_char_p, ())})
    number = bind("LZ4", [file], {"LZ4_versionString": (c_int, ())})
    assert b"." in text.LZ4_versionString()
    assert isinstance(number.LZ4_versionString(), int)


def test_what_is_missing_is_named() -> None:
    (file,) = extension_files("lz4", "block/_block")
    with pytest.raises(UnsupportedError, match=r"LZ4 .*_block.* lacks LZ4_nonsense, LZ4_rubbish$"):
        bind("LZ4", [file], {**VERSION, "LZ4_nonsense": (c_int, ()), "LZ4_rubbish": (c_int, ())})


def test_packages_and_libraries_that_are_not_there_yield_nothing() -> None:
    assert list(extension_files("no_such_package", "x")) == []
    assert list(extension_files("lz4", "no_such_file")) == []
    assert list(shared_library("no-such-library")) == []
    with pytest.raises(UnsupportedError, match=r"DEFLATE .* no library found"):
        bind("DEFLATE", [], VERSION)
