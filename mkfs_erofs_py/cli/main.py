"""``mkfs-erofs-py``: finds the command, runs it and turns every error into one line and a status."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
import threading
from typing import Any, NoReturn, Self

import click

from .. import __version__
from ..errors import ErofsError, printable

__all__ = ["main", "run"]

PROGRAM = "mkfs-erofs-py"

#: Each command's module, which holds a click command named ``command``, and its line in the help.
_COMMANDS = {
    "build": "Write a directory to a fingerprinted, compressed EROFS image.",
    "dedup": "Tell what sharing page cache among images would save, reading no file.",
    "mount": "Mount images that share page cache, by the kernel or through FUSE.",
    "umount": "Undo what mount did.",
    "share": "Read images through one shared page cache and show what sharing saves.",
    "ls": "List what is inside an image.",
    "cat": "Write files of an image to standard output.",
    "stat": "Show everything an image says of a file.",
    "dump": "Show superblock, inodes and extents; map every byte of an image.",
    "diff": "Show how two images differ.",
    "extract": "Extract an image, or a part, into a folder or a tar stream.",
    "verify": "Check images: structure, data, fingerprints; against a tree or a manifest.",
}


class _LazyGroup(click.Group):
    """Imports a command's module only when that command is wanted: start-up is part of every run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f".{cmd_name}", __package__).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM)
def main() -> None:
    """Build, read, verify and share EROFS images whose files carry content fingerprints."""


class _Signalled(BaseException):
    """SIGINT, SIGTERM or SIGHUP arrived (its number is the argument): unwind, so that nothing half-written stays."""


class _Signals:
    """Turns the first signal into `_Signalled`. What arrives after it is not heard, so that nothing interrupts the
    cleaning up, nor, once ``deaf`` was set, what is left to do after the work."""

    def __init__(self) -> None:
        self.deaf = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._hook, sys.unraisablehook = sys.unraisablehook, self._send_again
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook

    def _hear(self, number: int, _: object) -> None:
        if not self.deaf:
            self.deaf = True
            raise _Signalled(number)

    def _send_again(self, lost: sys.UnraisableHookArgs) -> None:
        """Send a signal again that arrived while some object was finalized, where nothing can be raised."""
        match lost.exc_value:
            case _Signalled(args=(number,)):
                self.deaf = False
                threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
            case _:
                sys.__unraisablehook__(lost)


def _open_standard_streams() -> None:
    """Put /dev/null where the caller closed a standard stream: an image must not become descriptor 1."""
    for fd, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 - open for good


def run(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 well, 1 the input is at fault, 2 usage or unreadable, 130 interrupted."""
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names need not fit the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    try:
        with _Signals() as signals:
            status = _run(sys.argv[1:] if argv is None else argv)
            signals.deaf = True
    except _Signalled as signalled:  # before `_run` began to listen, or after it had returned
        status = 128 + signalled.args[0]
    sys.exit(status)


def _run(argv: list[str]) -> int:
    try:
        # Not by `main.main`: that would take our own EOFErrors for the end of a terminal's input, and a reader of our
        # output who leaves for a fault.
        with main.make_context(PROGRAM, list(argv)) as context:
            result: Any = main.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _fail(error.format_message().rstrip(".") + hint, 2)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except ErofsError as error:
        return _fail(str(error), error.exit_code)
    except _Signalled as signalled:
        return _ended_by(signalled)
    except RuntimeError as error:
        # Before 3.12, Python raises this in place of what arrives while a class is being made.
        if isinstance(error.__cause__, _Signalled):
            return _ended_by(error.__cause__)
        raise
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f"{printable(error.filename)}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    except MemoryError:
        return _fail("out of memory", 1)
    return result if isinstance(result, int) else 0


def _ended_by(signalled: _Signalled) -> int:
    number: int = signalled.args[0]
    if number == signal.SIGINT and sys.stderr.isatty():
        click.echo(err=True)  # the terminal has shown ^C
    return _fail("interrupted" if number == signal.SIGINT else "terminated", 128 + number)


def _fail(message: str, status: int) -> int:
    with contextlib.suppress(OSError):
        click.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)
    return status
