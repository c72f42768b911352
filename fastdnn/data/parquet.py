"""Batches read from Parquet files as they are needed: data larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastdnn._checks import SEED_BITS, check_count, check_flag
from fastdnn._files import is_of_system, named

Array = NDArray[Any]
AnyPath = str | PathLike[str]
CHUNK_BYTES = 4_000_000  # of features that are read at a time
MIXED = 4  # such chunks have their rows mixed
BUFFER_BYTES = 1 << 18  # of a column's bytes in the file
MISSING = "pip install 'fastdnn[data]'"


class ParquetBatches:
    """Batches (X, y) of Parquet files, read piece by piece: a source for `Sequential.fit`.

    Parameters
    ----------
    path : str, Path or iterable of such
        A file; a folder, whose files ending in ``.parquet`` are read in the order of their names,
        those of folders in it too; or files in the order given.
    target : str, sequence of str or None
        The column of y, or the columns where the network has several outputs. None: the batches are
        X alone, to be predicted.
    batch_size : int
        Samples in a batch; only the last one of a pass may have fewer.
    columns : sequence of str, optional
        The features, in X's order; by default all columns but the target and the weights.
    sample_weight : str, optional
        The column of the samples' weights.
    dtype : {"float32", "float64"}
        Of X.
    shuffle : bool
        Read the row groups in a random order, and mix the rows of about 16 MB at a time. Else the
        samples come in the files' order.
    seed : int, optional
        Of that order, which is another one in each pass of a training.
    shard : (int, int), optional
        Rank and number of the processes that share the data, as (comm.rank, comm.size): this one
        reads its own files, every so many of them; of fewer files than processes, row groups.

    Attributes
    ----------
    n_samples : int
        The rows of all files, or of the shard.
    columns : tuple of str
        The features.

    Raises
    ------
    ImportError
        If pyarrow is missing.
    TypeError, ValueError
        If an argument is wrong, there is no file, one is none, lacks a column, or has one that
        holds no numbers. A missing value is told with its file, row and column when it is read.

    Examples
    --------
    >>> batches = fastdnn.data.ParquetBatches("sales", target="price", batch_size=256)
    >>> model.fit(batches, epochs=5)
    """

    def __init__(
        self,
        path: AnyPath | Iterable[AnyPath],
        target: str | Sequence[str] | None = None,
        batch_size: int = 32,
        *,
        columns: Sequence[str] | None = None,
        sample_weight: str | None = None,
        dtype: DTypeLike = "float32",
        shuffle: bool = False,
        seed: int | None = None,
        shard: tuple[int, int] | None = None,
    ) -> None:
        rank, ranks = _shard(shard)
        self.batch_size = check_count("batch_size", batch_size, 1)
        self.shuffle = check_flag("shuffle", shuffle)
        if dtype not in ("float32", "float64", np.float32, np.float64):
            raise ValueError(f"dtype: want 'float32' or 'float64', got {dtype!r}")
        self.dtype = np.dtype(dtype)
        given_seed = None if seed is None else check_count("seed", seed, 0, SEED_BITS)
        self._entropy = np.random.SeedSequence(given_seed).entropy
        self._passes = 0
        self._one_target = isinstance(target, str)
        self._targets = _names("target", target)
        self._weights = _weights(sample_weight, self._targets)
        self._files = _files(path)
        by_files = len(self._files) >= ranks
        if by_files:
            self._files = self._files[rank::ranks]
        self._groups: list[tuple[Path, int, int]] = []  # row groups, and their rows
        self.columns = () if columns is None else _names("columns", columns)
        for file in self._files:
            self._survey(file, chooses=columns is None)
        if not by_files:
            if len(self._groups) < ranks:  # all processes see this, and none waits for another
                raise ValueError(
                    f"shard: want a file or row group for each of {ranks} processes, got "
                    f"{len(self._groups)}"
                )
            self._groups = self._groups[rank::ranks]
        self.n_samples = sum(rows for *_, rows in self._groups)
        if self.n_samples == 0:
            raise ValueError(f"path: want samples, got no rows in {self._files[0]}")

    def set_epoch(self, number: int) -> None:
        """Have the next pass read in the order of pass `number`; `fit` calls this."""
        self._passes = check_count("number", number, 0)

    def _survey(self, path: Path, *, chooses: bool) -> None:
        """Count a file's rows and row groups, and check its columns; the first may choose them."""
        file = _opened(path)
        names, others = file.schema_arrow.names, (*self._targets, *self._weights)
        if chooses and path == self._files[0]:
            self.columns = _names("columns", [name for name in names if name not in others])
        if not self.columns:
            raise ValueError(f"columns: want one feature or more, got none of {names}")
        _check_columns(path, file.schema_arrow, (*self.columns, *others))
        metadata = file.metadata
        self._groups += [
            (path, i, metadata.row_group(i).num_rows) for i in range(metadata.num_row_groups)
        ]

    def __len__(self) -> int:
        """Return how many batches a pass has."""
        return -(-self.n_samples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, ...] | Array]:
        """Read all files once."""
        kept: list[Array] = []
        for chunk in self._shuffled() if self.shuffle else self._chunks(self._groups):
            joined = _joined([kept, chunk]) if kept else chunk
            whole = len(joined[0]) // self.batch_size * self.batch_size
            for begin in range(0, whole, self.batch_size):
                yield _batch([part[begin : begin + self.batch_size] for part in joined])
            kept = [part[whole:] for part in joined]
        if len(kept[0]):
            yield _batch(kept)

    def _shuffled(self) -> Iterator[list[Array]]:
        """Yield chunks of row groups in a random order, the rows of some chunks mixed."""
        seed = np.random.SeedSequence(self._entropy, spawn_key=(self._passes,))
        rng = np.random.default_rng(seed)
        self._passes += 1
        chunks = self._chunks([self._groups[i] for i in rng.permutation(len(self._groups))])
        while some := list(islice(chunks, MIXED)):
            mixed = _joined(some)
            order = rng.permutation(len(mixed[0]))
            yield [part[order] for part in mixed]

    def _chunks(self, groups: Iterable[tuple[Path, int, int]]) -> Iterator[list[Array]]:
        """Yield X, and y and the weights if there are any, of some megabytes at a time."""
        rows = max(CHUNK_BYTES // (len(self.columns) * self.dtype.itemsize), 1)
        # a feature may be a target, too
        names = list(dict.fromkeys([*self.columns, *self._targets, *self._weights]))
        for path, group, _ in groups:
            at = 0
            for table in _tables(path, group, rows, names):
                yield self._arrays(path, group, at, table)
                at += table.num_rows

    def _arrays(self, path: Path, group: int, at: int, table: Any) -> list[Array]:
        """Return X, y and weights of a piece of a row group, which begins at its row `at`."""

        def read(names: Sequence[str], dtype: np.dtype[Any]) -> Array:
            out = np.empty((table.num_rows, len(names)), dtype)
            for j, name in enumerate(names):
                bad = _read_into(out[:, j], table.column(name))
                if bad is not None:
                    raise ValueError(
                        f"{path}: row {at + bad.row} of row group {group}, column {name!r}: "
                        f"{bad.what}; fill or drop such rows first"
                    )
            return out

        chunk = [read(self.columns, self.dtype)]
        if self._targets:
            is_whole = all(_is_whole(table.column(name)) for name in self._targets)
            y = read(self._targets, np.dtype(np.int64) if is_whole else np.dtype(np.float64))
            chunk.append(y[:, 0] if self._one_target else y)
        if self._weights:
            chunk.append(read(self._weights, np.dtype(np.float64))[:, 0])
        return chunk


class _Bad(NamedTuple):
    """A value that cannot be trained on."""

    row: int
    what: str


def _read_into(out: Array, column: Any) -> _Bad | None:
    """Write a column's numbers to `out`; returns the first that is missing or not finite."""
    import pyarrow.types as types

    if column.null_count:
        is_null = column.is_null().to_numpy(zero_copy_only=False)
        return _Bad(int(is_null.argmax()), "the value is missing")
    if types.is_decimal(column.type):
        column = column.cast("float64")
    values = column.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        out[...] = values
    is_finite = np.isfinite(out)
    if is_finite.all():
        return None
    row = int(is_finite.argmin())
    if np.isnan(values[row]):
        return _Bad(row, "the value is missing")
    return _Bad(row, f"want finite numbers of {out.dtype}, got {values[row]}")


def _joined(chunks: Sequence[list[Array]]) -> list[Array]:
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _batch(parts: list[Array]) -> tuple[Array, ...] | Array:
    return parts[0] if len(parts) == 1 else tuple(parts)


def _names(name: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return names of columns as a tuple, each there once."""
    if not isinstance(given, str | Iterable | None):
        raise TypeError(f"{name}: want names of columns, got {given!r}")
    names = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(one, str) for one in names) or len(set(names)) < len(names):
        raise ValueError(f"{name}: want names of different columns, got {given!r}")
    return names


def _weights(name: str | None, targets: Sequence[str]) -> tuple[str, ...]:
    """Return the column of the weights, if there is one, as a tuple."""
    if name is None:
        return ()
    if not isinstance(name, str):
        raise TypeError(f"sample_weight: want the name of one column, got {name!r}")
    if not targets:
        raise ValueError(f"sample_weight: got {name!r} without a target")
    return (name,)


def _shard(given: tuple[int, int] | None) -> tuple[int, int]:
    """Return the number of a process and how many there are."""
    if given is None:
        return 0, 1
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(f"shard: want (rank, number of processes), got {given!r}")
    ranks = check_count("shard[1]", given[1], 1)
    rank = check_count("shard[0]", given[0], 0)
    if rank >= ranks:
        raise ValueError(f"shard: want a rank below {ranks}, got {rank}")
    return rank, ranks


def _files(path: AnyPath | Iterable[AnyPath]) -> list[Path]:
    """Return the files that a path, or several, mean."""
    if not isinstance(path, str | PathLike | Iterable):
        raise TypeError(f"path: want a file, a folder or a list of such, got {path!r}")
    found: list[Path] = []
    for one in [path] if isinstance(path, str | PathLike) else path:
        if not isinstance(one, str | PathLike):
            raise TypeError(f"path: want a file, a folder or a list of such, got {one!r} in it")
        place = Path(one).expanduser()
        if place.is_dir():
            # a folder may end in .parquet, too
            inside = sorted(file for file in place.rglob("*.parquet") if file.is_file())
            if not inside:
                raise ValueError(f"path: {place}: no file in this folder ends in .parquet")
            found += inside
        elif place.is_file():
            found.append(place)
        else:
            raise ValueError(f"path: {place}: no such file or folder")
    if not found:
        raise ValueError("path: want a file or more, got none")
    return found


def _opened(path: Path) -> Any:
    """Return a Parquet file of which the description has been read."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError(f"reading Parquet files needs pyarrow: {MISSING}") from None
    with _whole(path, "not a Parquet file"):
        # Without a buffer, whole columns of a row group are read at once.
        return pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES)


def _tables(path: Path, group: int, rows: int, names: list[str]) -> Iterator[Any]:
    """Yield some rows at a time of a row group."""
    file = _opened(path)
    with _whole(path, f"row group {group} is damaged"):
        yield from file.iter_batches(rows, row_groups=[group], columns=names)


@contextmanager
def _whole(path: Path, what: str) -> Iterator[None]:
    """Say what is wrong with a file of which the bytes are; the system's own errors stay."""
    try:
        yield
    except (ValueError, OSError) as error:  # pyarrow's are such
        if is_of_system(error):
            with named(path):
                raise
        raise ValueError(f"{path}: {what} ({' '.join(str(error).split())})") from None


def _check_columns(path: Path, schema: Any, names: Sequence[str]) -> None:
    """Refuse a file without one of these columns, or with one that holds no numbers."""
    import pyarrow.types as types

    for name in names:
        if schema.names.count(name) > 1:
            raise ValueError(f"{path}: want one column {name!r}, got {schema.names.count(name)}")
        if name not in schema.names:
            raise ValueError(f"{path}: no column {name!r}; it has {', '.join(schema.names)}")
    for name in names:
        kind = schema.field(name).type
        is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        if not (is_number or types.is_boolean(kind)):
            raise ValueError(
                f"{path}: column {name!r} holds {kind}; want numbers: encode it first, or leave it "
                "out of columns"
            )


def _is_whole(column: Any) -> bool:
    """Return whether a column's values fit in int64."""
    import pyarrow.types as types

    is_integer = types.is_integer(column.type) and not types.is_uint64(column.type)
    return is_integer or bool(types.is_boolean(column.type))
