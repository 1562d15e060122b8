"""May a file share its pages? One function decides, for the cache and for who foretells what it saves."""

from __future__ import annotations

from typing import Any

import pytest

from mkfs_erofs_py.pagecache import Unshared, sharing_key

FP, OTHER = b"blake3:" + bytes(32), b"sha256:" + bytes(32)
FACTS: dict[str, Any] = {"fingerprint": FP, "size": 1, "announced": True, "compressed": True, "strict": False}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        pytest.param({"announced": False}, Unshared.UNANNOUNCED, id="an image that announces no fingerprints"),
        pytest.param({"fingerprint": None}, Unshared.NO_FINGERPRINT, id="no fingerprint"),
        pytest.param({"fingerprint": b""}, Unshared.NO_FINGERPRINT, id="an empty fingerprint"),
        pytest.param({"size": 0}, Unshared.EMPTY, id="an empty file"),
        pytest.param({"fingerprint": b"md5:1", "strict": True}, Unshared.UNCHECKABLE, id="a claim nobody can check"),
    ],
)
def test_who_does_not_share_and_why(facts: dict[str, Any], reason: Unshared) -> None:
    assert sharing_key(**{**FACTS, **facts}) is reason


@pytest.mark.parametrize(
    ("facts", "equal"),
    [
        pytest.param({}, True, id="the same file"),
        pytest.param({"size": 2}, True, id="another size: the first that is mapped wins"),
        pytest.param({"strict": True}, True, id="a strict cache"),
        pytest.param({"fingerprint": OTHER}, False, id="another fingerprint"),
        pytest.param({"compressed": False}, False, id="compressed and plain stay apart"),
    ],
)
def test_who_shares_with_whom(facts: dict[str, Any], equal: bool) -> None:
    assert (sharing_key(**FACTS) == sharing_key(**{**FACTS, **facts})) == equal


def test_user_space_need_not_keep_compressed_and_plain_apart() -> None:
    keys = {sharing_key(**{**FACTS, "compressed": form}) for form in (None, True, False)}
    assert len(keys) == 3
    assert sharing_key(b"md5:1", 1, announced=True, compressed=None) == b"*md5:1"
