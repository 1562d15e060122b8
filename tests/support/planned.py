"""Images together with their plans, and what overrides make of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mkfs_erofs_py.encode.policy import Policy, Uniform
from mkfs_erofs_py.files.output import Output
from mkfs_erofs_py.write import BuildOptions
from mkfs_erofs_py.write.build import Source, build_from
from mkfs_erofs_py.write.override import Override, Value, resolve_overrides
from mkfs_erofs_py.write.patch import apply_patches
from mkfs_erofs_py.write.plan import Plan
from mkfs_erofs_py.write.profile import Profile

__all__ = ["Planned", "planned"]


class Planned(NamedTuple):
    """An image and its plan."""

    plan: Plan
    data: bytes

    def override(self, *overrides: Override) -> bytes:
        """Return the image with overrides, as `build_from` makes it."""
        patches = resolve_overrides(self.plan, overrides)
        with tempfile.TemporaryFile() as file:
            file.write(self.data)
            file.flush()
            output = Output(file.fileno(), b"copy")
            apply_patches(patches, output, self.plan.superblock, self.plan.inodes.options.checksum)
            return output.read_at(len(self.data) + 1, 0)

    def with_value(self, address: str, value: Value) -> bytes:
        """Return the image with one field overridden and the checksum mended."""
        return self.override(Override(address, value))


def planned(
    source: Source,
    options: BuildOptions,
    policy: Callable[[Profile], Policy] = lambda profile: Uniform(profile.encoding),
    *overrides: Override,
) -> Planned:
    """Build an image."""
    plans: list[Plan] = []
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image")
        build_from(
            os.fsencode(image), b"given", source, options, policy=policy, planned=plans.append, overrides=overrides
        )
        return Planned(plans[0], image.read_bytes())
