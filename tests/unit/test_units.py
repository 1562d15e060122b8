"""Sizes, times, UUIDs and names, as they are read and as they are written."""

from __future__ import annotations

import os
import uuid

import pytest

from mkfs_erofs_py.errors import UsageError, printable
from mkfs_erofs_py.units import (
    absolute,
    distinct,
    exact_time,
    format_size,
    format_time,
    parse_size,
    parse_time,
    parse_uuid,
    text,
)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("010", 10),
        ("0x1000", 4096),
        ("0x1B", 27),
        ("64k", 65536),
        ("64K", 65536),
        ("64KiB", 65536),
        ("64kb", 65536),
        ("7B", 7),
        ("3m", 3 << 20),
        ("2G", 2 << 30),
    ],
)
def test_sizes_are_read(written: str, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "k", "-1", "1.5k", "1 k", "1_000", "big", "1t", "0x", "9" * 21, "٣"])
def test_what_is_no_size_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(written)


@pytest.mark.parametrize(
    ("size", "written"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (3 << 20, "3.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (7 << 40, "7.0 TiB"),
        (7 << 50, "7168.0 TiB"),
    ],
)
def test_sizes_are_written(size: int, written: str) -> None:
    assert format_size(size) == written


def test_times_are_read_in_seconds() -> None:
    assert parse_time("1700000000") == 1700000000
    for written in ("", "-1", "1.5", "yesterday", "1 ", "٣"):
        with pytest.raises(UsageError, match="not a time in seconds"):
            parse_time(written)


@pytest.mark.parametrize(
    ("seconds", "written"), [(0, "1970-01-01 00:00"), (-60, "1969-12-31 23:59"), (1 << 62, f"@{1 << 62}")]
)
def test_times_are_written_to_the_minute(seconds: int, written: str) -> None:
    assert format_time(seconds) == written


@pytest.mark.parametrize(
    ("nanoseconds", "written"),
    [(0, "0.000000000"), (1_500_000_000, "1.500000000"), (-1_500_000_000, "-1.500000000"), (-1, "-0.000000001")],
)
def test_times_are_written_exactly(nanoseconds: int, written: str) -> None:
    assert exact_time(nanoseconds) == written


def test_uuids_are_read() -> None:
    assert parse_uuid("clear") == uuid.UUID(int=0)
    assert parse_uuid("random") != parse_uuid("random")
    assert parse_uuid("7f000001-0000-4000-8000-000000000001").int >> 96 == 0x7F000001
    with pytest.raises(UsageError, match="'nonsense' is not a UUID"):
        parse_uuid("nonsense")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain", "plain"),
        ("grüße €".encode(), "grüße €"),
        (b"\xff\n", "\\xff\\x0a"),
        ("\u202e".encode(), "\\xe2\\x80\\xae"),
        (b"", ""),
    ],
)
def test_names_are_shown_on_one_line(name: bytes, shown: str) -> None:
    assert printable(name) == shown
    assert printable(text(name)) == shown


def test_of_a_name_too_long_to_show_the_end_is_shown() -> None:
    assert printable("/folder/file", 12) == "/folder/file"
    assert printable("/folder/file", 11) == "...folder/file"
    assert printable(b"\n" * 99, 8) == r"...\x0a\x0a"


def test_names_in_json_give_their_bytes_back() -> None:
    assert os.fsencode(text(b"\xff\n\xc3\xa4")) == b"\xff\n\xc3\xa4"


@pytest.mark.parametrize("path", ["etc/passwd", "/etc/passwd", "//etc/passwd/", b"etc/passwd/"])
def test_paths_inside_images_are_absolute(path: str | bytes) -> None:
    assert absolute(path) == b"/etc/passwd"
    assert absolute("/") == absolute("") == b"/"


def test_what_is_named_twice_gets_a_number() -> None:
    assert distinct(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
