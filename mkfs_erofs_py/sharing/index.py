"""The fingerprints of a fleet of images in one SQLite file, to compare with without opening an image.

An image is known by its absolute path and stands for the bytes it had when it was added: its size
and time of modification are kept, and one that changed is read again. Each distinct pair of sharing key
and size is stored once, so a fleet of similar images costs some 30 bytes per file and image.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence

from ..errors import AnyPath, NotFoundError, OutputError, UnreadableError, UsageError, printable
from ..pagecache import page_round
from ..progress import Progress, silent
from ..units import several
from .predict import ImageProfile, Saving, Savings, TopFile, common_matrix, profile_image

__all__ = ["Index", "compare_with_index"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE image (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, stamp TEXT NOT NULL,
                    without INTEGER NOT NULL, alone INTEGER NOT NULL);
CREATE TABLE content (id INTEGER PRIMARY KEY, key BLOB NOT NULL, size INTEGER NOT NULL,
                      bytes INTEGER NOT NULL, path BLOB NOT NULL, UNIQUE (key, size));
CREATE TABLE held (content INTEGER NOT NULL, image INTEGER NOT NULL, copies INTEGER NOT NULL,
                   PRIMARY KEY (content, image)) WITHOUT ROWID;
CREATE INDEX of_image ON held (image);
"""


def compare_with_index(
    index: AnyPath, images: Sequence[AnyPath] = (), *, top: int = 0, progress: Progress | None = None
) -> Savings:
    """Return what sharing saves between each of ``images`` and every image that the index file knows.

    ``images`` are paths. Those that the index does not know as they are now are added to it; with none, all that it
    knows are compared. A new index is begun where there is none. ``progress`` hears of images.

    Raises `NotFoundError` for no index and no images to begin one with, `OutputError` for a file that is no index or
    cannot be written, `UsageError`, `UnreadableError` and `ImageError`.
    """
    if top < 0:
        raise UsageError(f"--top {top}: a number of files, 0 or more")
    if not images and not os.path.exists(index):
        raise NotFoundError(index, "no such index: name images to begin one")
    with contextlib.closing(Index(index)) as known:
        for number, path in enumerate(several("images", images), 1):
            if not known.knows(path):
                known.add(path, profile_image(path))
            (progress or silent)("reading fingerprints", number, len(images))
        return known.answer(images or known.images(), top=top)


def stamp(path: AnyPath) -> str:
    """Return what changes whenever the file at ``path`` does. Raises ``UnreadableError``."""
    try:
        facts = os.stat(path)
    except OSError as error:
        raise UnreadableError.of(path, error) from error
    return f"{facts.st_size}:{facts.st_mtime_ns}"


class Index:
    """An open index file. For one thread; processes may share the file.

    Raises :class:`~mkfs_erofs_py.errors.OutputError` for a file that cannot be written, or is no index.
    """

    def __init__(self, path: AnyPath) -> None:
        self._path = path
        with self._errors():
            self._db = sqlite3.connect(path, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA foreign_keys = OFF")
        self._db.execute("BEGIN IMMEDIATE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise OutputError(self._path, "is not an index that this version knows")
        self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        # What a hostile image or a damaged file holds: sizes that overflow, values of other types, text that is none.
        except (sqlite3.Error, OverflowError, LookupError, TypeError, ValueError) as error:
            raise OutputError(self._path, f"cannot be used as an index: {error}") from error

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._db.close()

    def images(self) -> list[str]:
        """Return the absolute paths of the images in the index, in the order they were added."""
        with self._errors():
            return [os.fsdecode(path) for (path,) in self._db.execute("SELECT path FROM image ORDER BY id")]

    def knows(self, path: AnyPath) -> bool:
        """Tell whether the image at ``path`` is in the index as it is now."""
        with self._errors():
            row = self._db.execute(
                "SELECT 1 FROM image WHERE path = ? AND stamp = ?", (_absolute(path), stamp(path))
            ).fetchone()
        return row is not None

    def add(self, path: AnyPath, profile: ImageProfile) -> None:
        """Add the image at ``path``, or replace what was known of it. All or nothing."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._add(path, profile)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _add(self, path: AnyPath, profile: ImageProfile) -> None:
        old = self._db.execute("SELECT id FROM image WHERE path = ?", (_absolute(path),)).fetchone()
        if old is not None:
            self._db.execute("DELETE FROM held WHERE image = ?", old)
            self._db.execute("DELETE FROM image WHERE id = ?", old)
        alone = profile.private_bytes + sum(page_round(held.size) for _, held in profile.contents())
        number = self._db.execute(
            "INSERT INTO image (path, stamp, without, alone) VALUES (?, ?, ?, ?)",
            (_absolute(path), stamp(path), profile.without_bytes, alone),
        ).lastrowid
        self._db.executemany(
            "INSERT OR IGNORE INTO content (key, size, bytes, path) VALUES (?, ?, ?, ?)",
            ((key, held.size, page_round(held.size), held.path) for key, held in profile.contents()),
        )
        self._db.executemany(
            "INSERT INTO held (content, image, copies) SELECT id, ?, ? FROM content WHERE key = ? AND size = ?",
            ((number, held.copies, key, held.size) for key, held in profile.contents()),
        )
        if old is not None:
            self._db.execute("DELETE FROM content WHERE id NOT IN (SELECT content FROM held)")

    def answer(self, paths: Sequence[AnyPath], *, top: int = 0) -> Savings:
        """Return what sharing saves in the whole fleet, and what each of ``paths`` shares with each other image.

        ``paths`` are in the index already; the pairs are those that have one of them. Where one fingerprint
        belongs to files of different sizes, each size counts as a content of its own.
        """
        with self._errors():
            rows = self._db.execute("SELECT id, path, without, alone FROM image ORDER BY id").fetchall()
            ids = {bytes(path): number for number, path, _, _ in rows}
            given = list(dict.fromkeys(ids[_absolute(path)] for path in paths))
            images = {n: Saving((printable(path),), without, alone) for n, path, without, alone in rows}
            (duplicates,) = self._db.execute(
                "SELECT coalesce(sum((n - 1) * bytes), 0) FROM "
                "(SELECT content, count(*) AS n FROM held GROUP BY content) JOIN content ON id = content"
            ).fetchone()
            common = self._common(given, list(images))
            pairs, done = [], set()
            for number in given:
                done.add(number)
                for other, there in images.items():
                    if other not in done:
                        pairs.append(_together(images[number], there, common[number].get(other, 0)))
            best = [TopFile(bytes(path), size, copies, count) for path, size, copies, count in self._top(top)]
            alone = sum(image.with_bytes for image in images.values())
            names = tuple(image.images[0] for image in images.values())
            total = Saving(names, sum(i.without_bytes for i in images.values()), alone - duplicates)
        return Savings(total, pairs, list(images.values()), best)

    def _common(self, given: Sequence[int], images: Sequence[int]) -> dict[int, dict[int, int]]:
        """Return for each image of ``given`` the bytes (one copy) that it has in common with other ``images``.

        One image is compared with those it shares with, however large the fleet. For the matrix all are looked at,
        which takes no longer than two of such comparisons where the images are much alike.
        """
        if len(given) > 1:
            return self._matrix(images)
        query = (
            "SELECT other.image, sum(content.bytes) FROM held AS mine "
            "JOIN held AS other ON other.content = mine.content AND other.image <> mine.image "
            "JOIN content ON content.id = mine.content WHERE mine.image = ? GROUP BY other.image"
        )
        return {number: dict(self._db.execute(query, (number,)).fetchall()) for number in given}

    def _matrix(self, images: Sequence[int]) -> dict[int, dict[int, int]]:
        bits = {number: 1 << at for at, number in enumerate(images)}
        sets: dict[int, int] = {}  # of images, by content
        for content, image in self._db.execute("SELECT content, image FROM held"):
            sets[content] = sets.get(content, 0) | bits[image]
        by_set: dict[int, int] = {}
        for content, size in self._db.execute("SELECT id, bytes FROM content"):
            held_by = sets.get(content, 0)
            by_set[held_by] = by_set.get(held_by, 0) + size
        rows = common_matrix(by_set, len(images))
        return {number: dict(zip(images, row, strict=True)) for number, row in zip(images, rows, strict=True)}

    def _top(self, top: int) -> Iterator[tuple[bytes, int, int, int]]:
        yield from self._db.execute(
            "SELECT path, size, n, images FROM "
            "(SELECT content, sum(copies) AS n, count(*) AS images FROM held GROUP BY content HAVING n > 1) "
            "JOIN content ON id = content ORDER BY (n - 1) * bytes DESC, path LIMIT ?",
            (top,),
        )


def _absolute(path: AnyPath) -> bytes:
    return os.path.abspath(os.fsencode(path))


def _together(one: Saving, other: Saving, common: int) -> Saving:
    return Saving(
        one.images + other.images,
        one.without_bytes + other.without_bytes,
        one.with_bytes + other.with_bytes - common,
    )
