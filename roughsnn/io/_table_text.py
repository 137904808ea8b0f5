"""The text of a table: unpacked, decoded and cut into cells, each with the number of its line."""

import bz2
import csv
import dataclasses
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

Compression = Literal["none", "gzip", "bz2", "xz", "zip"]

DESCRIPTION = "# roughsnn "
"""How the first line of a table begins that this package wrote; JSON follows."""

_FIRST_BYTES: dict[str, bytes] = {
    "gzip": b"\x1f\x8b",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
    "zip": b"PK\x03\x04",
    "zstandard": b"\x28\xb5\x2f\xfd",
}
_UNPACK = {"gzip": gzip.decompress, "bz2": bz2.decompress, "xz": lzma.decompress}
_DAMAGE = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
_DELIMITERS = {"\t": "tab", ";": "';'", ",": "','", "|": "'|'"}
_ONE_COLUMN = "\x1f"
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.I)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.I)


@dataclasses.dataclass(frozen=True)
class Cells:
    """A table as text.

    Attributes:
        header: names of the columns; their positions 0, 1, ... where there is no header.
        rows: the cells of each row, as many as the header has.
        lines: number of the line, from 1, of each row.
        description: the line that says what this package wrote, if there is one.
        has_header: whether the file has names of columns.
        header_line: number of the line of the header, or of the first row.
        remarks: what was not read.
    """

    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    description: str | None
    has_header: bool
    header_line: int
    remarks: list[str]


def read_cells(
    path: Path | str,
    *,
    delimiter: str | None,
    decimal: str,
    header: bool | None,
    compression: Compression | None,
) -> Cells:
    """Cut the text of a file into cells; see `TableFormat` for the options.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, no text, or no table; the message names file and line.
    """
    lines = _text(path, compression).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    # spreadsheets say in a first line of its own what is between the columns
    said = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    if said:
        lines[0] = "#"
        if delimiter not in (None, said[1]):
            raise ValueError(
                f"{path}, line 1 says that {said[1]!r} is between the columns, and `delimiter` is "
                f"{delimiter!r}. Leave it out, or remove the line."
            )
        delimiter = said[1]
    description = lines[0] if lines and lines[0].startswith(DESCRIPTION) else None
    numbered = [
        (number, line)
        for number, line in enumerate(lines, start=1)
        if not line.startswith("#") and not (number == 1 and description)
    ]
    comments = [n for n, line in enumerate(lines, start=1) if line.startswith("#")]
    comments = comments[1:] if description or said else comments
    remarks = [f"{_lines(comments)} with # and {are(comments)} not read"] if comments else []
    if not numbered:
        raise ValueError(
            f"{path}, line 1: there is no column of times; the file is empty. Export the table "
            "again, with a row for each spike."
        )
    for number, line in numbered:
        if not line.strip():
            raise ValueError(f"{path}, line {number} is empty. Remove it.")
    texts = [line for _, line in numbered]
    if delimiter is None:
        delimiter = _delimiter(f"{path}, line {numbered[0][0]}", texts[:2], decimal)
    rows, ends = [], []
    try:
        for row, end in _split(texts, delimiter):
            rows.append([cell.strip() for cell in row])
            ends.append(numbered[end][0])
    except csv.Error as error:
        line = numbered[min(len(ends), len(numbered) - 1)][0]
        raise ValueError(f"{path}, line {line}: {error}. Export the table as CSV again.") from error
    if header is None:
        header = not all(_NUMBER.fullmatch(cell) for cell in rows[0])
    first = ends[0]
    names = rows[0] if header else [str(i) for i in range(len(rows[0]))]
    if header:
        rows, ends = rows[1:], ends[1:]
    for row, line in zip(rows, ends, strict=True):
        if len(row) != len(names):
            raise ValueError(_other_width(path, line, row, names, header, delimiter))
    return Cells(names, rows, ends, description, header, first, remarks)


def is_archive(path: Path | str) -> bool:
    """Whether a file is an archive of NumPy arrays.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        if file.read(4) not in (_FIRST_BYTES["zip"], b"PK\x05\x06"):
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _DAMAGE:
        return Path(path).suffix == ".npz"
    return all(name.endswith(".npy") for name in names)


def to_number(text: str, decimal: str = ".") -> float:
    """The number that a cell holds; NaN where it holds none."""
    other = "," if decimal == "." else "."
    # Python reads 1_0 as 10, and digits of other scripts
    if not text.isascii() or "_" in text or other in text:
        return float("nan")
    try:
        return float(text.replace(decimal, "."))
    except ValueError:
        return float("nan")


def looks_like_a_number(text: str) -> bool:
    """Whether a cell is a number with either decimal sign."""
    return _NUMBER.fullmatch(text) is not None


def _text(path: Path | str, compression: Compression | None) -> str:
    content = Path(path).read_bytes()
    if compression is None:
        found = [name for name, first in _FIRST_BYTES.items() if content.startswith(first)]
        compression = found[0] if found else "none"  # pyright: ignore[reportAssignmentType]
    if compression == "zstandard":
        raise ValueError(f"{path} is compressed by zstandard. Unpack it first, with `unzstd`.")
    try:
        if compression == "zip":
            content = _only_member(content)
        elif compression != "none":
            content = _UNPACK[compression](content)
    except _DAMAGE as error:
        raise ValueError(
            f"{path} cannot be unpacked as {compression}: {error}. Export it again, or name how "
            "it is compressed with `compression=`."
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text ({error}). Export it as CSV.") from error


def _only_member(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if names and all(name.endswith(".npy") for name in names):
            raise ValueError("it is an archive of NumPy arrays, which `read_npz` reads")
        if len(names) != 1:
            raise ValueError(f"it holds {len(names)} files, {names[:5]}; one is read")
        return archive.read(names[0])


def _delimiter(where: str, lines: Sequence[str], decimal: str) -> str:
    """What stands between the columns, by the first line; the second one settles blanks."""
    first, *others = (re.sub(r'"[^"]*"', '""', line) for line in lines)
    found = [sign for sign in _DELIMITERS if sign in first and sign != decimal]
    if len(found) > 1:
        signs = " and ".join(_DELIMITERS[sign] for sign in found)
        raise ValueError(
            f"{where} has {signs}: {lines[0][:80]!r}. Say which of them is between the columns, "
            "with `delimiter=`; where the comma is the decimal sign, pass `decimal=','`."
        )
    if found:
        return found[0]
    columns = len(first.split())
    same = all(len(line.split()) == columns for line in others)
    if columns > 1 and same and (others or looks_like_a_number(first.split()[0])):
        return " "
    return _ONE_COLUMN


def _split(lines: list[str], delimiter: str) -> Iterator[tuple[list[str], int]]:
    """Rows, each with the place of its last line in `lines`."""
    if delimiter.isspace() and delimiter != "\t":
        yield from ((line.split(), number) for number, line in enumerate(lines))
        return
    table = csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True)
    for row in table:
        yield row, table.line_num - 1


def _other_width(path, line, row, names, header, delimiter) -> str:
    where = "the header" if header else "the first row"
    text = (
        f"{path}, line {line} has {len(row)} columns where {where} has {len(names)}: {row}. "
        "Complete the row or remove it."
    )
    if delimiter == "," and len(row) > len(names) and any(map(looks_like_a_number, row)):
        text += (
            " Where the comma is the decimal sign, export with another sign between the columns "
            "and pass `decimal=','`."
        )
    return text


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"line {shown} begins" if len(numbers) == 1 else f"lines {shown} begin"


def are(things: Sequence) -> str:
    """The verb for one thing or several."""
    return "is" if len(things) == 1 else "are"
