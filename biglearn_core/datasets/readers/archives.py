"""Files read by their content: plain, bzip2, gzip or xz, whole and of a bounded size."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["COMPRESSIONS", "MAX_BYTES", "ContentError", "open_binary"]

COMPRESSIONS = (".bz2", ".gz", ".xz")
MAX_BYTES = 4 << 30
_BUFFER = 1 << 20
# What decompressors raise for a file that ends early or is damaged; gzip.BadGzipFile and bz2's
# errors are OSErrors, told from those of the system by having no errno.
_BROKEN = (EOFError, OSError, lzma.LZMAError, zlib.error)


class ContentError(ValueError):
    """A file is truncated or damaged, followed by foreign bytes, or larger than its bound."""


def open_binary(path: Path, *, max_bytes: int = MAX_BYTES) -> io.BufferedReader:
    """Open a file for reading, decompressing bzip2, gzip and xz, known by their first bytes.

    Parameters
    ----------
    path : Path
        Its name does not matter.
    max_bytes : int
        Bound on the bytes of the content, decompressed: a small archive may hold a huge one.

    Returns
    -------
    io.BufferedReader
        Reading from it raises ContentError where the archive is damaged or truncated, where it is
        followed by anything but zero bytes, and where its content exceeds the bound.

    Raises
    ------
    ContentError
        At once where a plain file exceeds the bound.
    """
    stream = path.open("rb")
    head = stream.peek(6)
    for magic, decompress in _MAGIC.items():
        if head.startswith(magic):
            # Reading lines from the decompressor itself goes through Python for each of them.
            content = _Bounded(path, stream, decompress(stream), max_bytes)
            return io.BufferedReader(content, _BUFFER)
    if path.stat().st_size > max_bytes:
        stream.close()
        raise _too_large(path, max_bytes)
    return stream


def _too_large(path: Path, max_bytes: int) -> ContentError:
    return ContentError(
        f"{path} holds more than max_bytes = {max_bytes} bytes (decompressed, where it is "
        "compressed); raise the bound if that much is expected"
    )


class _Bounded(io.RawIOBase):
    """The content of an archive; its faults and its excess are ContentErrors that name the file."""

    def __init__(self, path: Path, file: BinaryIO, content: BinaryIO, max_bytes: int) -> None:
        self._path, self._file, self._content = path, file, content
        self._max_bytes, self._received = max_bytes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        try:
            count = self._content.readinto(buffer)
        except _BROKEN as error:
            if getattr(error, "errno", None) is not None:
                raise
            raise ContentError(
                f"{self._path} is truncated or damaged ({error}); delete it and fetch or copy it "
                "again"
            ) from error
        self._received += count
        if self._received > self._max_bytes:
            raise _too_large(self._path, self._max_bytes)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Members(io.RawIOBase):
    """The members of a bzip2 or xz file, one after the other.

    The classes of bz2 and lzma ignore what follows the last member. Here it is refused, but for
    zero bytes, which fill up blocks and which gzip skips, too.
    """

    def __init__(self, stream: BinaryIO, decompressor: Callable) -> None:
        self._stream, self._decompressor = stream, decompressor
        self._member = decompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        content = b""
        while not content:
            if self._member.eof:
                packed = self._member.unused_data
                while not (packed := packed.lstrip(b"\0")):
                    if not (packed := self._stream.read(_BUFFER)):
                        return 0
                self._member = self._decompressor()
            elif self._member.needs_input:
                if not (packed := self._stream.read(_BUFFER)):
                    raise EOFError("it ends within the compressed data")
            else:
                packed = b""
            content = self._member.decompress(packed, len(buffer))
        buffer[: len(content)] = content
        return len(content)


_MAGIC = {
    b"BZh": lambda stream: _Members(stream, bz2.BZ2Decompressor),
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
    b"\xfd7zXZ\x00": lambda stream: _Members(stream, lzma.LZMADecompressor),
}
