"""What the superblock tells readers about an image's compressed streams: a record an algorithm."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from operator import attrgetter

from ..ondisk.constants import Algorithm
from ..ondisk.superblock import AlgorithmRecord
from .registry import COMPRESSORS
from .spec import CompressorSpec

__all__ = ["make_record", "merge_records"]


def make_record(spec: CompressorSpec, *, max_pcluster: int, block_size: int) -> AlgorithmRecord:
    """Return the record that announces streams of ``spec`` in pclusters of up to ``max_pcluster`` bytes.

    Where no dictionary size is given it grows with the pcluster, as in mkfs.erofs: eight times its size for zstd,
    four times for lzma.
    """
    row = COMPRESSORS[spec.name]
    window = spec.dict_size or row.default_window(max_pcluster)
    if row.algorithm is Algorithm.LZ4:
        blocks = -(-max_pcluster // block_size)
        return AlgorithmRecord(algorithm=row.algorithm, max_distance=window, max_pcluster=blocks)
    if row.algorithm is Algorithm.LZMA:
        return AlgorithmRecord(algorithm=row.algorithm, dict_size=window)
    return AlgorithmRecord(algorithm=row.algorithm, window_bits=window.bit_length() - 1)


def merge_records(records: Iterable[AlgorithmRecord]) -> list[AlgorithmRecord]:
    """Return one record for each algorithm, ascending, that holds for all of ``records``: the largest of each field."""
    ordered = sorted(records, key=attrgetter("algorithm"))
    return [
        _largest(algorithm, list(group)) for algorithm, group in itertools.groupby(ordered, attrgetter("algorithm"))
    ]


def _largest(algorithm: Algorithm, records: list[AlgorithmRecord]) -> AlgorithmRecord:
    return AlgorithmRecord(
        algorithm=algorithm,
        max_distance=max(record.max_distance for record in records),
        max_pcluster=max(record.max_pcluster for record in records),
        dict_size=max(record.dict_size for record in records),
        window_bits=max(record.window_bits for record in records),
    )
