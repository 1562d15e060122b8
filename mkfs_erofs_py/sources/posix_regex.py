"""POSIX extended regular expressions, as ``mkfs.erofs`` takes them: the C library's own.

Python's differ silently: ``[[:digit:]]`` means something else to them, ``\\d`` nothing to POSIX.
"""

from __future__ import annotations

import ctypes
import functools
import weakref

__all__ = ["PosixRegex"]

_EXTENDED, _NO_SUBMATCHES = 1, 8
#: More than any C library's regex_t takes (glibc: 64 bytes).
_SIZE = 256


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.regcomp.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    libc.regexec.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int]
    libc.regerror.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    libc.regfree.argtypes = [ctypes.c_void_p]
    return libc


class PosixRegex:
    """A compiled expression. Raises `ValueError` with the library's own words for one that does not compile."""

    def __init__(self, expression: bytes) -> None:
        libc = _libc()
        self._regex = ctypes.create_string_buffer(_SIZE)
        code = libc.regcomp(self._regex, expression, _EXTENDED | _NO_SUBMATCHES)
        if code:
            words = ctypes.create_string_buffer(256)
            libc.regerror(code, self._regex, words, len(words))
            raise ValueError(words.value.decode("utf-8", "replace"))
        weakref.finalize(self, libc.regfree, self._regex)

    def found_in(self, text: bytes) -> bool:
        """Tell whether the expression matches somewhere in ``text``."""
        return bool(_libc().regexec(self._regex, text, 0, None, 0) == 0)
