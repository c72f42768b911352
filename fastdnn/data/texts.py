"""Text files as text: unpacked, decoded, and without what stands before the table."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bounds import check_unpacked

_BOMS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# What is often saved under another kind's name: how it begins, and what it is.
_OTHER_KINDS = {
    b"PK\3\4": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x93NUMPY": "an .npy file",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF file",
    b"\x89PNG": "a picture",
    b"\x89HDF": "an HDF5 file",
}
_HTML = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_SAMPLE = 1000  # lines
_PIECE = 1 << 20  # bytes unpacked at a time
_DELIMITERS = "\t;|, "  # where two would do, the earlier: commas may be decimal


@dataclass(frozen=True)
class Layout:
    """Where a table begins in a text, and what separates its cells."""

    start: int  # a character of the text
    line: int  # of the file, from 1
    delimiter: str
    comment: tuple[str, ...] = ()  # the cells of the last line that was skipped for its "#"


def unpacked(path: Path) -> bytes:
    """Return the bytes of a file, unpacked if its name ends in ``.gz``.

    Raises
    ------
    ValueError
        If it is damaged, or unpacks to far more than its size.
    """
    if path.suffix.lower() != ".gz":
        return path.read_bytes()
    try:
        with path.open("rb") as packed, gzip.open(packed) as file:
            content = bytearray()
            while piece := file.read(_PIECE):
                content += piece
                check_unpacked(path, len(content), packed.tell())
            return bytes(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: truncated or damaged gzip file ({error}); fetch it again"
        ) from None


def other_kind(content: bytes) -> str | None:
    """Say what a file is that was saved under another kind's name, as far as it is known."""
    if _HTML.match(content):
        return "a web page, not the file itself"
    return next((kind for start, kind in _OTHER_KINDS.items() if content.startswith(start)), None)


def read_text(path: Path) -> tuple[str, str]:
    """Read a text file, in UTF-8, UTF-16 or, failing these, Windows' western encoding.

    Returns
    -------
    text : str
        With line feeds between lines.
    encoding : str
        The encoding's name.

    Raises
    ------
    ValueError
        If it is empty, damaged or no text.
    """
    content = unpacked(path)
    kind = other_kind(content)
    if kind is not None:
        raise ValueError(f"{path}: not a text file but {kind}")
    encoding = next((name for bom, name in _BOMS.items() if content.startswith(bom)), None)
    if encoding is None:
        encoding = _guess(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file, or a damaged one, in {encoding}") from None
    if "\0" in text:
        raise ValueError(f"{path}: not a text file: it has bytes of value 0")
    if not text.strip():
        raise ValueError(f"{path}: the file is empty")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, encoding


def _guess(content: bytes) -> str:
    """Return the encoding of a text without a byte order mark."""
    start = content[:1000]
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[0::2])):
        if len(start) > 3 and zeros.count(0) > 0.6 * len(zeros):
            return encoding
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252" if not set(content) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "latin-1"
    return "utf-8"


def find_layout(text: str) -> Layout:
    """Find a table's first line and its delimiter.

    Empty lines, a first line "sep=;", lines that begin with "#" and lines of one cell above a table
    of more are no part of it.
    """
    lines = list(first_lines(text))
    skip, comment, told = 0, "", None
    while skip < len(lines):
        line = lines[skip].strip()
        match = re.fullmatch(r'"?sep=(.)"?', line, re.IGNORECASE)
        if match:
            told = match[1]
        elif line.startswith("#") and skip + 1 < len(lines):
            comment = line.lstrip("# ")
        elif line.strip(_DELIMITERS):
            break
        skip += 1
    delimiter, width = _delimiter(lines[skip:], told)
    while skip + 1 < len(lines) and _n_cells(lines[skip], delimiter) == 1 < width:
        skip += 1
    cells = tuple(cell.strip() for row in rows([comment], delimiter) for cell in row)
    start = sum(len(line) + 1 for line in lines[:skip])
    return Layout(start, skip + 1, delimiter, cells)


def rows(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Return the cells of each row that is not empty."""
    return (row for row in reader(lines, delimiter) if row)


def reader(lines: Iterable[str], delimiter: str) -> Any:
    """Return Python's reader of lines, with or without their ends."""
    if delimiter == " ":  # tabs too, as many as there are
        lines = (line.replace("\t", " ").strip() for line in lines)
    # A quotation mark that the last line leaves open is no fault: it may end in a later one.
    ended = (line if line.endswith("\n") else f"{line}\n" for line in lines)
    return csv.reader(ended, delimiter=delimiter, skipinitialspace=True)


def first_lines(text: str, start: int = 0) -> Iterator[str]:
    """Return lines of a text from a place on, as many as tell how it is laid out."""
    for _ in range(_SAMPLE):
        end = text.find("\n", start)
        yield text[start:] if end < 0 else text[start:end]
        if end < 0:
            return
        start = end + 1


def _delimiter(lines: list[str], told: str | None) -> tuple[str, int]:
    """Return what makes the most rows equally long, and how long these are."""
    best, found = 0.0, (told or ",", 1)
    for delimiter in told or _DELIMITERS:
        widths = Counter(len(row) for row in rows(lines, delimiter))
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        share = count / max(widths.total(), 1)
        if delimiter == " " and best > 0 and not (share == 1 and _spaces_part(lines, found[0])):
            continue  # they stand in cells too
        if width > 1 and (share > best or delimiter == " "):
            best, found = share, (delimiter, width)
    return found


def _spaces_part(lines: list[str], delimiter: str) -> bool:
    """Return whether spaces part the cells, not the delimiter that parts some of them as well.

    Commas may be those of numbers, and a tab may stand before the last of many cells.
    """
    if delimiter == ",":
        cells = [cell for line in lines for cell in line.split() if "," in cell]
        return all(re.fullmatch(r"[+-]?\d+,\d+", cell) for cell in cells)
    first = [row[0] for row in rows(lines, delimiter)]
    return delimiter == "\t" and all(re.fullmatch(r"[\d.?-]+( +[\d.?-]+)+", cell) for cell in first)


def _n_cells(line: str, delimiter: str) -> int:
    return len(next(rows([line], delimiter), [""]))
