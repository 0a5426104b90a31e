"""Parquet tables: a column of paths, or the photos themselves as bytes in a column."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from ..common import stores
from ..common.visible import shortened
from ..errors import ImageError, OptionError, nearest
from .containers import Asked, Broken, Lately, opened
from .lists import COLUMNS, beside
from .photos import Container

IMAGES = ("image", "img", "photo", "picture", "image_bytes", "bytes", "content", "jpg", "jpeg", "png", "webp")
FEW = 16  # rows that are read at once, twice as many are kept
BUFFER = 2**20  # bytes that are read at once: a row group may be larger than memory
MISSING = "pip install 'segloop[parquet]'"


@dataclass(eq=False)
class _Rows:
    """Where in a table one is, and the rows read last."""

    table: Any  # pyarrow's ParquetFile
    column: str
    groups: list[int]  # where each row group ends
    next: int = 0
    batches: Iterator[Any] | None = None
    kept: dict[int, Any] = field(default_factory=dict)

    def row(self, number: int) -> Any:
        """What the column has in a row; the way to rows passed long ago begins at their group."""
        if number in self.kept:
            return self.kept[number]
        group = bisect_right(self.groups, number)
        if self.batches is None or number < self.next or group > bisect_right(self.groups, self.next):
            self.next = self.groups[group - 1] if group else 0
            rest = list(range(group, len(self.groups)))
            self.batches = self.table.iter_batches(FEW, row_groups=rest, columns=[self.column], use_threads=False)
        while number >= self.next:
            values = next(self.batches).column(0).to_pylist()
            self.kept |= enumerate(values, self.next)
            self.next += len(values)
            for old in [one for one in self.kept if one < self.next - 2 * FEW]:
                del self.kept[old]
        return self.kept[number]


@dataclass(frozen=True, eq=False)
class Table:
    """The photos of a column that holds their files."""

    address: str
    column: str
    rows: int
    lately: Lately[_Rows] = field(repr=False)

    def __len__(self) -> int:
        return self.rows

    def member(self, number: int) -> str:
        """The row's number, from 0."""
        return f"{number:0{max(6, len(str(self.rows - 1)))}d}"

    stem = member

    def fetch(self, number: int) -> Any:
        """The photo's file: bytes, or the path beside which the table says that it lies. Raises ImageError."""
        try:
            with self.lately(self.address, lambda: _start(self.address, self.column)) as rows:
                found = rows.row(number)
        except (OSError, ValueError, StopIteration) as error:
            what = f"row {number} of {shortened(self.address)} cannot be read ({_first_line(error)})"
            raise ImageError(what, "copy or download the table again") from error
        path = found.get("path") if isinstance(found, dict) else None
        data = found.get("bytes") if isinstance(found, dict) else found
        if data is None and path:
            place = beside(self.address, path)
            return stores.read(place) if stores.is_address(place) else place
        if data is None:
            raise ImageError(f"row {number} of {shortened(self.address)} has no photo", "leave the row out, or fill it")
        return data


def open_table(address: str, asked: Asked) -> Iterator[Container | str]:
    """The photos of a table, or the paths that its column holds; what cannot be read fails as one photo.

    Raises OptionError for a table without such a column.
    """
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise OptionError(f"{shortened(address)} needs the package pyarrow", MISSING) from None
    try:
        table = ParquetFile(opened(address))
    except (arrow.ArrowException, OSError) as error:
        what = f"{shortened(address)} is no whole Parquet table ({_first_line(error)})"
        yield Broken(address, ImageError(what, "copy or download it again"))
        return
    column = _column(table.schema_arrow, asked.column, address)
    if _is_text(table.schema_arrow.field(column).type):
        for batch in table.iter_batches(columns=[column], use_threads=False):
            yield from (path for path in batch.column(0).to_pylist() if path)
    else:
        yield Table(address, column, table.metadata.num_rows, asked.lately)


def _start(address: str, column: str) -> _Rows:
    from pyarrow.parquet import ParquetFile

    table = ParquetFile(opened(address), pre_buffer=False, buffer_size=BUFFER)
    sizes = (table.metadata.row_group(number).num_rows for number in range(table.num_row_groups))
    return _Rows(table, column, list(accumulate(sizes)))


def _column(schema: Any, wanted: str | None, address: str) -> str:
    """The column that holds photos or paths. Raises OptionError naming those that could."""
    able = [field.name for field in schema if _is_text(field.type) or _has_bytes(field.type)]
    if wanted:
        if wanted not in able:
            what = f"{shortened(address)} has no column {wanted!r} of paths or photos"
            raise OptionError(what, nearest(wanted, able) if able else "give a table that has one")
        return wanted
    known = [name for name in able if _has_bytes(schema.field(name).type) and name.lower() in IMAGES]
    known += [name for name in able if _is_text(schema.field(name).type) and name.lower() in (*COLUMNS, *IMAGES)]
    if not known:
        what = f"no column of {shortened(address)} is known to hold photos or paths"
        raise OptionError(what, f"name it with --column: {', '.join(able) or 'none could'}")
    return known[0]


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def _has_bytes(kind: Any) -> bool:
    """Whether a column holds files: bytes, or the record of bytes and path that the datasets library writes."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(part.name == "bytes" and _has_bytes(part.type) for part in kind)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
