"""Files as strangers make them: good ones, and bad ones of every kind that is known."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.numpy

import fastdnn
from fastdnn import checkpoint
from tests.datafiles import idx_bytes
from tests.nets import classifier, samples

M = 60
Change = Callable[[dict[str, Any], dict[str, Any]], object]


# ------------------------------------------------------------------------------------- good files
@cache
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        np.c_[rng.standard_normal((M, 4)), rng.integers(0, 3, M)], columns=list("abcdy")
    )


def buffered(write: Callable[[Any], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def trained(path: Path, last: int = 1) -> fastdnn.Sequential:
    """A model, with a file of its training within an epoch."""
    (X, y), model = samples(), classifier("adam", seed=1)
    saved = fastdnn.ModelCheckpoint(path, every_n_steps=3)
    model.fit(X, y, batch_size=10, epochs=last, callbacks=[saved], verbose=0)
    return model


@cache
def good() -> dict[str, bytes]:
    """A file of each kind, by its suffix."""
    numbers = table().to_numpy()
    csv = table().to_csv(index=False).encode()
    idx = idx_bytes(np.random.default_rng(0).integers(0, 255, (M, 5, 5), np.uint8))
    labels = table()["y"].astype(int)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        trained(path)
        training = path.read_bytes()
    return {
        "safetensors": training,
        "csv": csv,
        "csv.gz": gzip.compress(csv),
        "npy": buffered(lambda file: np.save(file, numbers)),
        "npz": buffered(lambda file: np.savez(file, X=numbers[:, :4], y=labels)),
        "parquet": buffered(table().to_parquet),
        "idx3-ubyte": idx,
        "idx3-ubyte.gz": gzip.compress(idx),
    }


# -------------------------------------------------------------------------------------- bad files
def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes replaced, put in or left out, or the rest cut off."""
    found, kind = bytearray(content), rng.integers(6)
    at = int(rng.integers(len(found)))
    if kind == 0:
        for place in rng.integers(len(found), size=4):
            found[place] = rng.integers(256)
    elif kind == 1:
        del found[at:]
    elif kind == 2:
        found[at:at] = rng.bytes(30)
    elif kind == 3:
        del found[at : at + 30]
    elif kind == 4:
        found += content
    else:  # in the header
        found[at % 100] = rng.integers(256)
    return bytes(found)


def headed(header: bytes, data: bytes = b"") -> bytes:
    """A safetensors file."""
    return struct.pack("<Q", len(header)) + header + data


def signed(change: Change) -> bytes:
    """A training's file that says something else, with a right checksum."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(good()["safetensors"])
        content = checkpoint.read(path)
        change(content.config, content.tensors)
        text = content.config.get("text")
        if text is None:
            checkpoint.write(path, content)
        else:
            own = {checkpoint._FORMAT_KEY: "1", checkpoint._KEY: text}
            safetensors.numpy.save_file(content.tensors, path, metadata=own)
        return path.read_bytes()


def state(key: str, value: Any) -> Change:
    return lambda config, _: config["training"].update({key: value})


def callback(key: str, value: Any) -> Change:
    def change(config: dict[str, Any], _: Any) -> None:
        config["training"]["callbacks"][0]["state"][key] = value

    return change


SIGNED: dict[str, Change] = {
    "negative second moments": lambda c, t: t["optimizer"].__setitem__(-1, -1.0),
    "NaN": lambda c, t: t["W1"].__setitem__((0, 0), np.nan),
    "NaN in the memory": lambda c, t: t["optimizer"].__setitem__(0, np.nan),
    "of another shape": lambda c, t: t.update(W1=t["W1"].T.copy()),
    "of another dtype": lambda c, t: t.update(W1=t["W1"].astype(np.int32)),
    "of zero elements": lambda c, t: t.update(W1=np.zeros((0, 10**6), np.float32)),
    **{
        f"steps {steps}": lambda c, t, steps=steps: c["state"].update(steps=steps)
        for steps in (-1, 1.5, 2**63, 10**400, "1", None, [], True)
    },
    "deep": lambda c, t: c.update(text="[" * 100_000),
    "deep, but less": lambda c, t: c.update(layers=json.loads("[" * 900 + "]" * 900)),
    "many lists": lambda c, t: c.update(text="[" + "[]," * 3_000_000 + "[]]"),
    "many numbers": lambda c, t: c.update(text="[" + "1.5," * 2_000_000 + "1]"),
    "a name twice": lambda c, t: c.update(text=json.dumps(c).replace("{", '{"seed": 3, ', 1)),
    "a large network": lambda c, t: c["layers"][0].update(units=2_000_000_000),
    "a custom object without a name": lambda c, t: c["layers"][0].update(
        activation={"class": "ScalarActivation", "name": 3}
    ),
}
TRAININGS: dict[str, Change] = {
    **{f"epoch {v!r}": state("epoch", v) for v in (-1, 1.5, 2**63, "x", None, [])},
    **{f"rate {v!r}": state("rate", v) for v in (-1.0, "x", [])},
    "no rate": lambda c, t: c["training"].pop("rate"),
    "a list": lambda c, t: c.update(training=[]),
    "text": lambda c, t: c.update(training="x"),
    "an array that is not there": state("seen", {"array": "training.x"}),
    "an array by a list": state("seen", {"array": []}),
    "no callbacks": state("callbacks", []),
    "a callback without a state": state("callbacks", [{"class": "ModelCheckpoint"}] * 2),
    "place beyond": lambda c, t: c["training"]["place"].update(steps=10**9),
    "place before": lambda c, t: c["training"]["place"].update(steps=-1),
    "place of text": state("place", "x"),
    "best of text": callback("best", "x"),
    "outputs of one row": lambda c, t: t.update(
        {name: t[name][:1] for name in t if "outputs" in name}
    ),
    "losses of text": lambda c, t: c["training"]["seen"].update(losses="x"),
    "losses of NaN": lambda c, t: [t[name].fill(np.nan) for name in t if "losses" in name],
    "optimizer of a list": lambda c, t: c.update(optimizer=[]),
}


def header_of(count: int) -> bytes:
    one = '"t{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    return b"{" + ",".join(one.format(i) for i in range(count)).encode() + b"}"


def zipped(*members: tuple[str, bytes]) -> bytes:
    def write(file: Any) -> None:
        with warnings.catch_warnings(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            warnings.simplefilter("ignore")
            for name, content in members:
                archive.writestr(name, content)

    return buffered(write)


def npy(shape: tuple[int, ...], kind: str = "<f8", data: bytes = b"") -> bytes:
    """An .npy file whose header may say anything."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def nothing(megabytes: int) -> bytes:
    """An .npy file of zeros."""
    return npy((megabytes * 125_000,), data=bytes(megabytes * 1_000_000))


# by suffix: what is made on purpose, all of it bad
BAD: dict[str, dict[str, Callable[[], bytes]]] = {
    "safetensors": {
        "a header of 100 MB": lambda: struct.pack("<Q", 100_000_000) + b"{" * 1000,
        "a whole header of 30 MB": lambda: headed(b"{" + b" " * 30_000_000 + b"}"),
        "a header without end": lambda: struct.pack("<Q", 2**63) + b"{}",
        "a million tensors": lambda: headed(header_of(300_000)),
        "tensors that are many": lambda: headed(header_of(60_000)),
        "a tensor twice": lambda: headed(
            b'{"W1":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"W1":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
            bytes(8),
        ),
        "tensors that overlap": lambda: headed(
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            b'"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
            bytes(12),
        ),
        "a dtype of others": lambda: headed(
            b'{"__metadata__":{"fastdnn.format":"1","fastdnn.model":"{}"},'
            b'"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}',
            bytes(2),
        ),
        "a shape without end": lambda: headed(
            b'{"__metadata__":{"fastdnn.format":"1","fastdnn.model":"{}"},'
            b'"a":{"dtype":"F32","shape":[0,4000000000,4000000000,4000000000],'
            b'"data_offsets":[0,0]}}',
        ),
        "a deep header": lambda: headed(b"[" * 100_000),
        **{name: lambda change=change: signed(change) for name, change in SIGNED.items()},
    },
    "csv": {
        "nothing": lambda: b"",
        "commas": lambda: b"," * 2_000_000,
        "one long line": lambda: b"1" * 3_000_000,
        "one long cell": lambda: b'a,y\n"' + b"x\n" * 200_000,
        "zero bytes": lambda: b"a,y\n1,\0\n" * 100,
        "NaN as labels": lambda: b"a,y\n" + b"1,nan\n" * 60,
        "infinity": lambda: b"a,b,y\n" + b"1,2,1\n2,inf,0\n" * 30,
        "numbers without end": lambda: b"a,y\n" + b"1e999,0\n2,1\n" * 30,
        "ragged": lambda: b"a,b,y\n" + b"1,2,0\n1,2,3,4\n" * 30,
    },
    "csv.gz": {
        "a bomb": lambda: gzip.compress(b"1,2\n" * 25_000_000),
        "a bomb in bombs": lambda: gzip.compress(gzip.compress(bytes(10_000_000))),
        "cut": lambda: good()["csv.gz"][:-9],
        "no gzip": lambda: b"1,2\n",
    },
    "npy": {
        "a large shape": lambda: npy((10**12,)),
        "a shape without end": lambda: npy((10**30,)),
        "a negative shape": lambda: npy((-5, 5), data=bytes(200)),
        "a deep header": lambda: npy((), "<f8").replace(b"()", b"(" * 60 + b")" * 60),
        "objects": lambda: buffered(lambda f: np.save(f, np.array([{}] * 20, object))),
        "NaN": lambda: buffered(lambda f: np.save(f, np.full((20, 3), np.nan))),
        "infinity": lambda: buffered(lambda f: np.save(f, np.full((20, 3), np.inf))),
        "text": lambda: buffered(lambda f: np.save(f, np.full((20, 3), "x"))),
    },
    "npz": {
        "a bomb": lambda: zipped(("X.npy", nothing(100)), ("y.npy", nothing(1))),
        "a path": lambda: zipped(("../../X.npy", nothing(1)), ("/etc/y.npy", nothing(1))),
        "X twice": lambda: zipped(*[("X.npy", npy((20, 1), data=bytes(160)))] * 2),
        "X and x": lambda: zipped(("X.npy", nothing(1)), ("x.npy", nothing(1))),
        "no array": lambda: zipped(("X.npy", b"x"), ("y.npy", b"y")),
        "a large shape": lambda: zipped(("X.npy", npy((10**10, 2))), ("y.npy", npy((10**10,)))),
        "nothing": lambda: zipped(),
    },
    "parquet": {
        "rows without end": lambda: buffered(
            pd.DataFrame({"a": np.zeros(30_000_000), "y": 0}).to_parquet
        ),
        "nothing": lambda: b"PAR1PAR1",
        "no rows": lambda: buffered(table()[:0].to_parquet),
        "a footer without end": lambda: b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1",
    },
    "idx3-ubyte": {
        "a large shape": lambda: struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 28),
        "71 dimensions": lambda: struct.pack(">4B71I", 0, 0, 8, 71, *[1] * 71) + b"\0",
        "no elements": lambda: struct.pack(">4B3I", 0, 0, 8, 3, 0, 28, 28),
        "too long": lambda: good()["idx3-ubyte"] + bytes(9),
        "NaN": lambda: idx_bytes(np.full((M, 5, 5), np.nan, np.float32)),
    },
    "idx3-ubyte.gz": {"a bomb": lambda: gzip.compress(bytes(100_000_000))},
}
