"""A kernel shows of every kind of image exactly what its source held."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from mkfs_erofs_py.kernels import Kernel
from tests.kernel.conftest import Build, Judge, Source
from tests.kernel.harness.mapping import PAGE
from tests.kernel.harness.remote import RemoteError
from tests.kernel.layouts import LAYOUTS, Layout

pytestmark = pytest.mark.kernel


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_kernel_shows_the_source(
    layout: Layout, judge: Judge, sources: Callable[[str], Source], build: Build
) -> None:
    source = sources(layout.source)
    built = build(source.tree, **layout.options)
    if judge.version < Kernel.parse(built.kernel):
        pytest.skip(f"needs Linux {built.kernel}")
    before = judge.call("kernel_complaints")
    # A domain for each image: the kernel keeps shared pages beyond unmounting, and takes them on trust.
    share = f"inode_share,domain_id={os.path.basename(built.image)}"
    sharing = judge.shares and built.sharing_kernel is not None
    point = judge.call("mount", image=built.image, options=share if sharing else "")
    try:
        assert judge.call("examine", point=point, expected=str(source.snapshot)) == []
    finally:
        judge.call("unmount", point=point)
    # Only the guest's log is ours alone; and the kernel warns of its own fault with small blocks (docs/kernel.md).
    if judge.shares and layout.options.get("block_size", PAGE) >= PAGE:
        assert judge.call("kernel_complaints")[len(before) :] == []


@pytest.mark.parametrize("block", [2 * PAGE, 16 * PAGE])
def test_blocks_larger_than_a_page_are_refused(
    block: int, judge: Judge, sources: Callable[[str], Source], build: Build
) -> None:
    """No kernel mounts them so far: as docs/kernel.md says, ``fsck.erofs`` and our reader judge them instead."""
    built = build(sources("everything").tree, block_size=block)
    with pytest.raises((OSError, RemoteError), match="blk"):
        judge.call("mount", image=built.image)
