"""The cache's inside: mapping files, filling their pages, giving them up. One lock guards it all.

Locking. The lock guards all state of this module, of `memory` and of `mapping`. It is never held while a fetcher works,
a digest is computed or a reader copies. A page is absent, pending or resident: the thread that finds it absent makes
it pending and fills it, the others wait. So a page is filled once however many threads miss it together. If the fill
fails, the page is absent again and everybody who waited through the same mapping gets that error; who waited through
another image's mapping tries with its own, so a damaged image harms nobody else.

Every public method is atomic as others see it, but for `piece`: what was absent when it began may come and go
meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from ..errors import CacheFullError, UnreadableError, printable
from .bring import LieError, bring, fetch_into, is_honest
from .budget import PageBudget
from .counters import Counters, Tally
from .fetcher import PAGE, Fetcher
from .mapping import Attachment, Fill, Mapping, SharedFile
from .proof import Proof
from .run import PageRun
from .sharing import Unshared, sharing_key

__all__ = ["PageStore"]


class PageStore:
    """Pages by file, files by domain and sharing key. All methods may be called from any thread.

    ``budget`` is the most bytes it holds (``None``: no limit), ``strict`` whether content is checked against its
    fingerprint before it is shared. ``warn`` is told, in one line of text, when sharing is refused.
    """

    def __init__(self, budget: int | None, strict: bool, warn: Callable[[str], None]) -> None:
        self._strict = strict
        self._warn = warn
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        # Below: under the lock.
        self._budget = PageBudget(budget)
        self._files: dict[Hashable, SharedFile] = {}
        self._total = Tally()

    # Images and files

    def attach(self, name: str, domain: bytes | None, announced: bool) -> Attachment:
        """Admit an image."""
        return Attachment(name, domain, announced, self._total)

    def detach(self, image: Attachment) -> None:
        """Let go of an image: its mappings end, files that no other image maps are forgotten. Twice is harmless."""
        with self._lock:
            if not image.attached:
                return
            image.attached = False
            for mapping in list(image.mappings.values()):
                file = mapping.file
                file.mappings.discard(mapping)
                if not file.mappings:
                    self._forget(file)
            image.mappings.clear()

    def map(
        self, image: Attachment, ident: Hashable, fetcher: Fetcher, fingerprint: bytes | None, compressed: bool | None
    ) -> Mapping:
        """Find or make the mapping of a file, and count one more handle of it.

        Raises :class:`~mkfs_erofs_py.errors.UnreadableError` if the image is detached.
        """
        warning = None
        with self._lock:
            self._check_attached(image)
            mapping = image.mappings.get(ident)
            if mapping is None:
                file, warning = self._shared_file(image, fetcher.size, fingerprint, compressed)
                file = file or self._private_file(image, ident, fetcher.size)
                mapping = image.mappings[ident] = Mapping(image, ident, fetcher, file)
                file.mappings.add(mapping)
            mapping.handles += 1
        if warning:
            self._warn(f"{image.name}: not sharing inode {ident}{warning}")
        return mapping

    def _shared_file(
        self, image: Attachment, size: int, fingerprint: bytes | None, compressed: bool | None
    ) -> tuple[SharedFile | None, str | None]:
        """Find or make the file that this one shares with others -> it, or None and why that needs a warning."""
        if image.domain is None:
            return None, None
        key = sharing_key(fingerprint, size, announced=image.announced, compressed=compressed, strict=self._strict)
        if isinstance(key, Unshared):
            # Only this reason is news: it depends on how the cache was set up, not on the image alone.
            return None, f": {key.value}: {printable(fingerprint or b'')}" if key is Unshared.UNCHECKABLE else None
        place = (image.domain, key)
        file = self._files.get(place)
        if file is None:
            file = self._files[place] = SharedFile(place, size, fingerprint)
        elif file.size != size:
            # The first that is mapped wins, as in the kernel.
            return None, (f" of {size} bytes: its fingerprint is already that of a file with {file.size} bytes")
        return file, None

    def _private_file(self, image: Attachment, ident: Hashable, size: int) -> SharedFile:
        place = (image, ident)
        file = self._files[place] = SharedFile(place, size, None)
        return file

    def close(self, mapping: Mapping) -> None:
        """Count one handle less; the file's pages stay."""
        with self._lock:
            mapping.handles -= 1
            if mapping.image.attached and mapping.file.idle():
                self._forget(mapping.file)

    @staticmethod
    def _check_attached(image: Attachment) -> None:
        if not image.attached:
            raise UnreadableError(image.name, "is no longer mounted")

    def _forget(self, file: SharedFile) -> None:
        if self._files.get(file.key) is file:
            del self._files[file.key]
        for mapping in file.mappings:
            mapping.image.mappings.pop(mapping.ident, None)
        file.mappings = set()
        for run in file.runs():
            self._budget.remove(run)
            run.tally.add(drops=run.count)

    def _demote(self, mapping: Mapping) -> None:
        """Give a file that was caught lying pages of its own."""
        if not mapping.image.attached or mapping.file.fingerprint is None:
            return
        file = mapping.file
        file.mappings.discard(mapping)
        mapping.file = self._private_file(mapping.image, mapping.ident, mapping.fetcher.size)
        mapping.file.mappings.add(mapping)
        if not file.mappings:
            self._forget(file)
        self._warn(
            f"{mapping.image.name}: not sharing inode {mapping.ident}: its content is not what its fingerprint says"
        )

    # Reading

    def piece(self, mapping: Mapping, page: int, stop: int, ahead: int, *, pin: bool = False) -> memoryview | None:
        """Return a view of the pages from ``page`` on: as many, up to ``stop``, as lie in one run.

        What is absent is filled, up to the page ``ahead`` if that is beyond ``stop``. Returns ``None``
        if there is no room; with ``pin`` it waits for fills under way before it gives up so.
        The view ends with the file. Raises what the fetcher raises, ``UnreadableError`` if the image is detached.
        """
        missed = False
        with self._lock:
            while True:
                self._check_attached(mapping.image)
                if self._strict and not mapping.proved and mapping.file.proof is not None:
                    self._prove(mapping, mapping.file, mapping.file.proof)
                    continue
                here = mapping.file.table.get(page)
                if isinstance(here, PageRun):
                    self._budget.touch(here)
                    end = min(stop, here.stop)
                    if missed:
                        mapping.image.tally.add(misses=end - page)
                    else:
                        mapping.image.tally.add(hits=end - page)
                    return here.view(page, end)
                missed = True
                if here is not None:
                    self._filled.wait()
                    if here.error is not None and here.mapping is mapping:
                        raise here.error
                    continue
                mapping.handles += 1  # whoever closes the file meanwhile, its pages stay
                try:
                    claimed = self._fill(mapping, page, max(stop, ahead))
                finally:
                    mapping.handles -= 1
                if claimed:
                    continue
                if not (pin and self._budget.reserved):
                    return None
                self._filled.wait()

    def _fill(self, mapping: Mapping, page: int, limit: int) -> bool:
        """Fill absent pages from ``page`` on, up to ``limit``; ``False`` if there is no room.

        Called with the lock, which is given back while the fetcher works. What was absent may still
        be so afterwards: pages come and go, and in strict mode the first pass may only prove.
        """
        file, memory = mapping.file, self._budget
        claim = file.fingerprint if self._strict else None
        unproved = claim is not None and file.proof is None
        if unproved:
            first, end = 0, file.pages
        else:
            first, end = page, file.absent_until(page, min(limit, page + memory.most, file.pages))
        room = 0
        if end - first <= memory.most:
            room = self._make_room(end - first)
            if room < (end - first if unproved else 1):
                return False
            end = first + room
        fill = Fill(mapping)
        file.table.update(dict.fromkeys(range(first, end), fill))
        memory.reserved += room
        begin, until, proof = first * PAGE, min(end * PAGE, file.size), file.proof
        try:
            self._lock.release()
            try:
                data, proof = bring(mapping.fetcher, begin, until, claim=claim, proof=proof, keep=room > 0)
            finally:
                self._lock.acquire()
                memory.reserved -= room
                for index in range(first, end):
                    del file.table[index]
                self._filled.notify_all()
        except LieError:
            self._demote(mapping)
            return True
        except Exception as error:
            fill.error = error
            raise
        self._check_attached(mapping.image)
        if proof is not None:
            file.proof = proof
            mapping.proved = True
        if data is not None:
            memory.install(file, first, data, mapping.image.tally)
            mapping.image.tally.add(fills=room)
        return True

    def _make_room(self, pages: int) -> int:
        room, losers = self._budget.make_room(pages)
        for file in losers:
            if file.idle():
                self._forget(file)
        return room

    def _prove(self, mapping: Mapping, file: SharedFile, proof: Proof) -> None:
        """Hold all of a file against what was proved of another before it may read the pages of that.

        Without this, a file could read what it does not contain, by knowing nothing but the fingerprint. Called with
        the lock, which is given back meanwhile.
        """
        mapping.handles += 1  # whoever closes the file meanwhile, its pages stay
        self._lock.release()
        try:
            honest = is_honest(mapping.fetcher, file.size, proof)
        finally:
            self._lock.acquire()
            mapping.handles -= 1
        self._check_attached(mapping.image)
        if honest:
            mapping.proved = True
        elif mapping.file is file:
            self._demote(mapping)

    def bypass(self, mapping: Mapping, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` around the cache, with the file's own content whatever its fingerprint says."""
        self.count_bypass(mapping.image, -(-len(buffer) // PAGE))
        fetch_into(mapping.fetcher, offset, buffer)

    def count_bypass(self, image: Attachment, pages: int) -> None:
        """Count pages that an image's reader gets without the cache; refuse if the image is detached."""
        with self._lock:
            self._check_attached(image)
            image.tally.add(bypasses=pages)

    def drop(self, mapping: Mapping, first: int, stop: int) -> None:
        """Give up the unpinned resident pages from ``first`` to ``stop`` of the file behind ``mapping``."""
        with self._lock:
            self._check_attached(mapping.image)
            self._budget.drop(mapping.file, first, stop)

    def full(self) -> CacheFullError:
        """Return the error for a view that does not fit."""
        return CacheFullError(f"all of the page cache's {self._budget.limit} bytes are pinned by views that are held")

    # Facts

    def counters(self, image: Attachment | None = None) -> Counters:
        """Return a snapshot of the counters, of one image or of all together.

        Consistent in itself: taken under the lock. Takes time in proportion to the files known.
        """
        with self._lock:
            self._budget.sweep()
            if image is not None:
                files = {mapping.file for mapping in image.mappings.values()}
                shared = sum(file.resident for file in files if len(file.mappings) > 1)
                return image.tally.snapshot(sum(file.resident for file in files) * PAGE, shared * PAGE)
            shared = sum(file.resident for file in self._files.values() if len(file.mappings) > 1)
            return self._total.snapshot(self._budget.resident * PAGE, shared * PAGE)

    def resident_pages(self, mapping: Mapping) -> int:
        """Return which pages of the file behind ``mapping`` are resident: bit ``n`` set for page ``n``."""
        with self._lock:
            bits = 0
            for run in mapping.file.runs():
                bits |= ((1 << run.count) - 1) << run.first
            return bits
