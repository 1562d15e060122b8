"""What sources feed, and how contents get their places once the tree is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..encode.encoded import Encoded
from ..encode.service import Service
from ..encode.shelf import Shelf, Shelved
from ..errors import SourceError
from ..tree import Facts, Kept, Node, Reopen, Stream, TreeBuilder
from .area import Area, Placed
from .inodes import Inodes
from .plan import inline_room

__all__ = ["Intake", "place_contents"]


class Intake:
    """Where sources put files: ``tree`` takes names and facts, and contents are taken here where that helps.

    A source that knows its files' final order may `announce` contents that can be opened, so that they are read while
    the tree is still being made. A source whose contents come once must `take` each before the next one comes. No
    source does both: answers come in the order in which contents were given, and what was announced has to wait until
    the tree is known, while what is taken is put on the shelf at once.
    """

    def __init__(self, service: Service, shelf: Shelf) -> None:
        self.tree = TreeBuilder()
        self.announced: list[Reopen] = []
        self._taken = False
        self._service = service
        self._shelf = shelf

    def announce(self, path: bytes, facts: Facts) -> None:
        """Begin with the content of a regular file; files must be announced in the finished tree's order."""
        content = facts.content
        if self._taken:
            raise AssertionError("contents were taken as they came, so none can be announced")
        if facts.size and content is not None and not isinstance(content, (Stream, Kept)):
            self.announced.append(content)
            self._service.offer(path, facts, content)

    def take(self, path: bytes, facts: Facts) -> Facts:
        """Read a content that comes once -> facts to put into the tree. Raises `SourceError`."""
        content = facts.content
        if not isinstance(content, Stream):
            raise TypeError(f"what is taken as it comes is a Stream, not {type(content).__name__}")
        if self.announced:
            raise AssertionError("contents were announced, so none can be taken as it comes")
        self._taken = True
        kept = self._shelf.expect(content.label) if facts.size else None
        if kept is not None:
            self._service.stream(path, facts, content)
        return facts._replace(content=kept)


def place_contents(
    inodes: Inodes, intake: Intake, service: Service, area: Area, done: Callable[[int], None]
) -> list[Placed | None]:
    """Give every content of the tree its place, in the tree's order -> by inode number.

    ``done`` hears the bytes of each content that has its place. Raises `SourceError`, `OutputError`.
    """
    waiting = [node for node in inodes.nodes if node.content is not None and node.size]
    for node in waiting:
        if isinstance(node.content, Stream):
            raise SourceError(node.content.label, "comes once, but its source did not have it taken as it came")
    if intake.announced:
        wanted = [node.content for node in waiting if not isinstance(node.content, Kept)]
        if len(wanted) != len(intake.announced) or any(
            one is not other for one, other in zip(wanted, intake.announced, strict=True)
        ):
            raise AssertionError("contents were announced in another order than the tree has them")
    else:
        # This puts all that was taken on the shelf. The other contents are read from here on, in the tree's order.
        service.drain()
        for node in waiting:
            if not isinstance(node.content, (Stream, Kept, type(None))):
                service.offer(inodes.tree.path(node), _facts(node), node.content)
    placing = _Placing(inodes, area, waiting, done)
    service.receiver = placing
    service.drain()
    service.finish()
    placing.finish()
    return placing.placed


def _facts(node: Node) -> Facts:
    return Facts(*node[5:])


class _Placing:
    """Puts contents into the area as they come; those on the shelf when it is their turn. A `Receiver`."""

    def __init__(self, inodes: Inodes, area: Area, waiting: list[Node], done: Callable[[int], None]) -> None:
        self.placed: list[Placed | None] = [None] * len(inodes.nodes)
        self._inodes = inodes
        self._area = area
        self._waiting: Iterator[Node] = iter(waiting)
        self._done = done
        #: The content that is coming in parts.
        self._large: Node | None = None

    def whole(self, encoded: Encoded) -> None:
        """See `Receiver.whole`."""
        number = self._next().number
        self._keep(number, self._area.add(encoded, inline_room(self._inodes, number)))

    def part(self, data: memoryview | bytes, block_size: int) -> None:
        """See `Receiver.part`."""
        if self._large is None:
            # What stands before it in the tree must be placed before its first byte is.
            self._large = self._next()
        self._area.part(data, block_size)

    def last(self, encoded: Encoded) -> None:
        """See `Receiver.last`."""
        assert self._large is not None
        self._keep(self._large.number, self._area.close(encoded))
        self._large = None

    def settle(self) -> None:
        """See `Receiver.settle`."""
        self._area.flush()

    def finish(self) -> None:
        """Place what is left on the shelf."""
        for node in self._waiting:
            self._place_kept(node)

    def _keep(self, number: int, placed: Placed) -> None:
        self.placed[number] = placed
        self._done(placed.key.size)

    def _next(self) -> Node:
        """Return the node whose content has come, after all that stand before it and are on the shelf."""
        for node in self._waiting:
            if not isinstance(node.content, Kept):
                return node
            self._place_kept(node)
        raise AssertionError("more contents came than the tree has")

    def _place_kept(self, node: Node) -> None:
        content = node.content
        assert isinstance(content, Shelved)
        assert content.encoded is not None
        encoding = content.encoded.key.encoding
        if node.size <= encoding.segment:
            placed = self._area.add(content.whole(), inline_room(self._inodes, node.number))
        else:
            for part in content.parts():
                self._area.part(part, encoding.block_size)
                self._area.flush()
            placed = self._area.close(content.encoded)
        self._area.flush()
        self._keep(node.number, placed)
