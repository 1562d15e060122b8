"""What the compressors cost and how well they fill pclusters, over the files of a real tree.

    python benchmarks/codecs.py /usr --limit 100

For each compressor and pcluster size: blocks that a 4 KiB-block image needs for the data, calls,
processor time, and the same two in relation to filling every pcluster to the last byte. Then decoding
with one thread and with two, and what a call costs when there is nothing to do.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from mkfs_erofs_py.compress import Encoder, decoder, decompress, make_encoder, window_of

BLOCK = 4096
REACH = 1 << 20  # how much of a file a fill is offered

SPECS = ("lz4", "lz4hc", "lz4hc,12", "zstd", "zstd,9", "zstd,19", "deflate", "deflate,9", "lzma")


class Fill(Protocol):
    def __call__(self, src: int, src_len: int, dst: int, dst_len: int, /) -> tuple[int, int]: ...


@dataclass
class Totals:
    """What one run over the tree came to; ``streams`` keeps (stream, decoded size) for decoding."""

    blocks: int = 0
    plain: int = 0
    calls: int = 0
    seconds: float = 0.0
    streams: list[tuple[bytes, int]] = field(default_factory=list)


def files(root: str, limit: int) -> Iterator[bytes]:
    """Yield the contents of files of more than a block, in sorted order, until ``limit`` bytes."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.isfile(path) or os.path.islink(path) or os.path.getsize(path) <= BLOCK:
                continue
            with open(path, "rb") as file:
                yield file.read()
            limit -= os.path.getsize(path)
            if limit <= 0:
                return


def address_of(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def run(corpus: list[bytes], fill: Fill, begin_file: Callable[[], None], cluster: int, keep: int = 0) -> Totals:
    """Lay the corpus out as a builder would, aligned to blocks, incompressible data as it is."""
    target = ctypes.create_string_buffer(cluster)
    dst = ctypes.addressof(target)
    totals = Totals()
    started = time.process_time()
    for data in corpus:
        begin_file()
        src, position = address_of(data), 0
        while position < len(data):
            left = len(data) - position
            consumed = produced = 0
            if left > BLOCK:
                consumed, produced = fill(src + position, min(left, REACH), dst, cluster)
                totals.calls += 1
            blocks = -(-produced // BLOCK)
            if not produced or blocks * BLOCK >= consumed:
                consumed = min(left, max(BLOCK, min(consumed, cluster) // BLOCK * BLOCK))
                blocks = -(-consumed // BLOCK)
                totals.plain += blocks
            elif len(totals.streams) < keep:
                totals.streams.append((target.raw[:produced], consumed))
            totals.blocks += blocks
            position += consumed
    totals.seconds = time.process_time() - started
    return totals


def to_the_last_byte(encoder: Encoder) -> Fill:
    """Return a fill that halves the interval until no byte more fits: the yardstick, not a suggestion."""

    def fill(src: int, src_len: int, dst: int, dst_len: int, /) -> tuple[int, int]:
        low, high, guess = 0, src_len + 1, dst_len * 4
        while high - low > 1:
            guess = min(max(guess, low + 1), high - 1)
            size = encoder.piece(src, guess, dst, dst_len)
            if size:
                low, guess = guess, guess * dst_len // size
            else:
                high, guess = guess, (low + guess) // 2
            if size >= dst_len - 1:
                break
        return low, encoder.piece(src, low, dst, dst_len) if low else 0

    return fill


def compare(spec: str, cluster: int, corpus: list[bytes], yardstick: bool) -> list[tuple[bytes, int]]:
    encoder = make_encoder(spec, max_pcluster=cluster)
    ours = run(corpus, encoder.fill, encoder.begin_file, cluster, keep=2000)
    line = (
        f"{spec:10} {cluster >> 10:5} KiB {ours.blocks:8} blocks ({ours.plain:6} plain) {ours.calls:7} calls "
        f"{ours.seconds:7.2f} s {ours.seconds / ours.calls * 1e6:8.1f} us a call"
    )
    if yardstick and not spec.startswith("lz"):
        full = run(corpus, to_the_last_byte(encoder), encoder.begin_file, cluster)
        line += f"   {ours.blocks / full.blocks:.4f} of the blocks, {ours.seconds / full.seconds:.2f} of the time"
    print(line, flush=True)
    return ours.streams


def decode(spec: str, cluster: int, streams: list[tuple[bytes, int]]) -> None:
    record = make_encoder(spec, max_pcluster=cluster).record
    algorithm, window = record.algorithm, window_of(record)
    total = sum(size for _, size in streams)

    def into(part: list[tuple[bytes, int]]) -> None:
        buffer = ctypes.create_string_buffer(max(size for _, size in part))
        decode, address = decoder(algorithm, window), ctypes.addressof(buffer)
        for stream, size in part:
            decode(stream, address, size, False)

    def fresh(part: list[tuple[bytes, int]]) -> None:
        for stream, size in part:
            decompress(algorithm, stream, size, window=window)

    speeds = []
    with ThreadPoolExecutor(2) as pool:
        for work, threads in ((into, 1), (fresh, 1), (into, 2), (fresh, 2)):
            parts = [streams[i::threads] for i in range(threads)]
            started = time.perf_counter()
            list(pool.map(work, parts))
            speeds.append(total / (time.perf_counter() - started) / 1e6)
    print(
        f"{spec:10} {cluster >> 10:5} KiB decodes MB/s into a buffer {speeds[0]:6.0f}, to bytes {speeds[1]:6.0f};"
        f" two threads {speeds[2]:6.0f}, {speeds[3]:6.0f}",
        flush=True,
    )


def overhead() -> None:
    source, target = address_of(b"x" * 64), ctypes.create_string_buffer(64)
    for spec in ("lz4", "lz4hc", "zstd"):
        encoder = make_encoder(spec, max_pcluster=BLOCK)
        dst, rounds = ctypes.addressof(target), 100_000
        for name, call in (("fill", encoder.fill), ("piece", encoder.piece)):
            started = time.perf_counter()
            for _ in range(rounds):
                call(source, 16, dst, 64)
            print(f"{spec:10} {name:5} of 16 bytes takes {(time.perf_counter() - started) / rounds * 1e6:.2f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree")
    parser.add_argument("--limit", type=int, default=60, help="stop after this many megabytes")
    parser.add_argument("--clusters", type=int, nargs="+", default=[4096, 65536], help="sizes in bytes")
    parser.add_argument("--specs", nargs="+", default=SPECS, help="compressors as -z names them")
    parser.add_argument("--yardstick", action="store_true", help="also fill to the last byte (slow)")
    arguments = parser.parse_args()
    corpus = list(files(arguments.tree, arguments.limit * 10**6))
    print(f"{len(corpus)} files, {sum(map(len, corpus))} bytes")
    streams = {
        (spec, cluster): compare(spec, cluster, corpus, arguments.yardstick)
        for spec in arguments.specs
        for cluster in arguments.clusters
    }
    for (spec, cluster), kept in streams.items():
        decode(spec, cluster, kept)
    overhead()


if __name__ == "__main__":
    main()
