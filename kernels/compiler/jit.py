"""The only place of numba's options and of the disk cache.

Three kinds of compiled function:

``kernel``
    An inner function. It is compiled into whatever calls it and has no cache of its own.
``leaf``
    A large inner function, compiled once per dtype and kept on disk. Whatever calls it calls it by
    its symbol; a `kernel` would be optimised anew inside each of its callers, and their callers.
``compile_cached``
    What Python calls (see ``entry.py``): compiled once per dtype with a stated signature, and kept
    on disk.

Numba's own disk cache looks at one source file's stamp, so an edit in another file is served stale,
and two processes that fill it at once can mix up its index. `_Cache` therefore names each file by a
hash of all that its content depends on, and needs no index.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import platform
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import cgutils, config
from numba.core.caching import CompileResultCacheImpl
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from numba.extending import intrinsic

from fastdnn.kernels.base.arrays import DTYPES
from fastdnn.kernels.base.callers import warn
from fastdnn.kernels.base.forks import Lock
from fastdnn.kernels.cpu import targets

from ._environment import to_compile, user_cache
from ._inner import InnerCompiler
from .compiling import block, done, work_of

FLOATS: dict[np.dtype[Any], Any] = dict(zip(DTYPES, (numba.float32, numba.float64), strict=True))
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    # No "nnan" or "ninf": a diverging run must show. No "reassoc": sums keep one order.
    "fastmath": {"nsz", "contract"},
    # No reference is counted: nothing is allocated here, and counting is an atomic operation, at
    # each call that passes an array on, on one number that all ranks would wait for.
    "_nrt": False,
}

_INNER: dict[str, Any] = {
    "pipeline_class": InnerCompiler,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
kernel = numba.njit(**_OPTIONS, **_INNER)
# For what returns tuples: a function that LLVM does not inline returns them by way of memory.
small_kernel = numba.njit(**_OPTIONS, **_INNER, forceinline=True)
# Put into its callers before these are typed: no code of its own to compile.
inline_kernel = numba.njit(**_OPTIONS, inline="always")
# For sums within one fixed range only: LLVM may then use one accumulator per lane.
sum_kernel = numba.njit(
    **{**_OPTIONS, **_INNER, "fastmath": {"nsz", "contract", "reassoc"}},
)


# ------------------------------------------------------------------------------------------ cache
SOURCES = Path(__file__).parents[1]  # the folder `kernels`, with all its packages
_ROOT = f"{__package__.rpartition('.')[0]}."  # with which the names of their modules begin
DIGEST = hashlib.sha256().digest_size  # bytes at a file's start that the rest must match


@cache
def source_stamp() -> str:
    """A hash of everything but the signature that compiled code depends on."""
    digest = hashlib.sha256(
        repr((sys.version_info[:3], numba.__version__, np.__version__, targets.host())).encode()
    )
    for path in sorted(SOURCES.rglob("*.py")):
        digest.update(f"\n{path.relative_to(SOURCES)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def cache_folders() -> tuple[Path, ...]:
    """Return where compiled code is looked for; the first writable folder takes new code."""
    if config.CACHE_DIR:
        return (Path(config.CACHE_DIR) / "fastdnn",)
    if sys.platform == "win32":
        user = user_cache("LOCALAPPDATA", "AppData", "Local")
    else:
        user = user_cache("XDG_CACHE_HOME", ".cache")
    beside = SOURCES / "__pycache__"
    return (beside,) if user is None else (beside, user / "fastdnn")


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@cache
def cache_folder() -> Path | None:
    """Return the folder that takes new code; None, with one warning, if none is writable."""
    for folder in cache_folders():
        if _writable(folder):
            return folder
    warn(
        "fastdnn cannot keep its compiled code: none of "
        f"{', '.join(map(str, cache_folders()))} can be written, so every process compiles anew. "
        "Set NUMBA_CACHE_DIR to a writable folder."
    )
    return None


@cache
def _machine(codegen: Any) -> Any:
    """Return what numba compiles for; it takes longer to tell than to look for a file."""
    return codegen.magic_tuple()


def part_name(function: Callable[..., Any]) -> str:
    """Return a function's name in the cache: its module below `kernels`, and its own."""
    return f"{function.__module__.removeprefix(_ROOT)}.{function.__name__}"


class _Cache:
    """The part of numba's cache protocol that a dispatcher uses."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = part_name(function)
        self.cache_path = str(cache_folders()[0])

    def _file(self, signature: Any, codegen: Any) -> str:
        key = repr((source_stamp(), str(signature), _machine(codegen), platform.machine()))
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.nbc"

    def load_overload(self, signature: Any, context: Any) -> Any:
        # All of numba that compiled code needs. `context.refresh` would import what typing and
        # lowering need besides, scipy.linalg too: 0.3 s and 57 MB.
        rtsys.initialize(context)
        name = self._file(signature, context.codegen())
        for folder in cache_folders():
            try:
                content = (folder / name).read_bytes()
            except OSError:
                continue
            digest, payload = content[:DIGEST], content[DIGEST:]
            if hashlib.sha256(payload).digest() == digest:  # else compile anew and replace it
                load_named(payload)
                return CompileResultCacheImpl.rebuild(None, context, pickle.loads(payload))
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what has just been compiled."""
        done(self._name)
        folder = cache_folder()
        if folder is None:
            return
        payload = numba.core.serialize.dumps(CompileResultCacheImpl.reduce(None, result))
        target = folder / self._file(signature, result.codegen)
        temporary = target.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        try:
            temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, target)
        except OSError as error:  # a full disk: what was compiled runs all the same
            warn(f"fastdnn cannot keep compiled code: {error}")
        finally:
            temporary.unlink(missing_ok=True)


def is_cached(function: Callable[..., Any], types: tuple[Any, ...]) -> bool:
    """Return whether the cache has what `compile_cached` makes of these."""
    name = _Cache(function)._file(types, cpu_target.target_context.codegen())
    return any((folder / name).exists() for folder in cache_folders())


def work_left(function: Callable[..., Any], types: tuple[Any, ...]) -> float:
    """Return what `compile_cached` has to do, as `compiling` counts; 0 if it is cached."""
    return 0.0 if is_cached(function, types) else work_of(part_name(function))


def compile_cached(
    function: Callable[..., Any],
    types: tuple[Any, ...],
    *,
    parallel: bool = False,
    for_python: bool = True,
) -> Any:
    """Compile `function` for parameters of these types, or read it from the cache.

    Returns
    -------
    numba's compile result, with its ``library`` and its ``entry_point`` (if it is `for_python`).
    """
    options = _OPTIONS | {"parallel": parallel, "_nrt": parallel}
    wrappers = {"no_cpython_wrapper": not for_python, "no_cfunc_wrapper": True}
    dispatcher: Any = numba.njit(**options, **wrappers)(function)
    dispatcher._cache = _Cache(function)
    with block(lambda: work_left(function, types)), to_compile(parallel):
        dispatcher.compile(types)
    (result,) = dispatcher.overloads.values()
    return result


def compile_plain(function: Callable[..., Any], types: tuple[Any, ...], **options: Any) -> Any:
    """Compile a user's function, or what calls one, for parameters of these types.

    Nothing is kept on disk: no hash of ours could tell what a user's function depends on. No
    instruction is contracted, so an element's bits do not depend on its place in a vector.

    Returns
    -------
    numba's dispatcher and its compile result.
    """
    dispatcher: Any = numba.njit(
        **{"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, **options},
        no_cfunc_wrapper=True,
    )(function)
    with to_compile():
        dispatcher.compile(types)
    (result,) = dispatcher.overloads.values()
    return dispatcher, result


# ----------------------------------------------------------------------------------------- leaves
_loading = Lock()  # of leaves, which entries share; a leaf loads those that it calls


class Leaf:
    """A function's code for each dtype, registered under a symbol."""

    def __init__(self, function: Callable[..., None], signature: Callable[[Any], Any]) -> None:
        self.function = function
        self.name = part_name(function)
        self.signature = signature
        self._results: dict[Any, Any] = {}  # own the code

    def symbol(self, kind: Any) -> str:
        """Return the name of the code for one of numba's float types."""
        return f"fastdnn.{self.name}.{kind}"

    def is_loaded(self, kind: Any) -> bool:
        """Return whether the symbol is registered."""
        return kind in self._results

    def work_left(self, kind: Any) -> float:
        """Return what there is to compile before the symbol exists, as `compiling` counts."""
        return 0.0 if self.is_loaded(kind) else work_left(self.function, self.signature(kind))

    def load(self, kind: Any) -> None:
        """Compile for a float type, or read from the cache, and register the symbol."""
        if self.is_loaded(kind):
            return
        with _loading:
            if self.is_loaded(kind):
                return
            result = compile_cached(self.function, self.signature(kind), for_python=False)
            address = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
            llvm.add_symbol(self.symbol(kind), address)
            self._results[kind] = result

    def address(self, kind: Any) -> int:
        """Return where the code lies, loaded if need be."""
        self.load(kind)
        result = self._results[kind]
        return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))

    def promise(self, kind: Any) -> None:
        """Register the symbol without its code, to compile what calls it and not to run that."""
        self._results[kind] = None
        llvm.add_symbol(self.symbol(kind), 1)


LEAVES: list[Leaf] = []
_SYMBOL = re.compile(rb"fastdnn\.([\w.]+)\.(float32|float64)\b")


def load_leaves(kind: Any) -> None:
    """Have every leaf at hand for a float type."""
    for one in LEAVES:
        one.load(kind)


def load_named(code: bytes) -> None:
    """Have the leaves at hand that cached code names: it knows them by their symbols alone."""
    named = {(name.decode(), kind.decode()) for name, kind in _SYMBOL.findall(code)}
    for one in LEAVES:
        for kind in FLOATS.values():
            if (one.name, str(kind)) in named:
                one.load(kind)


def leaf(
    signature: Callable[[Any], tuple[Any, ...]],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a function as a `Leaf`; what comes out is called like any kernel.

    `signature` maps a float type to the types of the parameters, of which the first that is a
    pointer or an array of floats says which code is called.
    """
    return lambda function: _leaf(Leaf(function, signature))


def _leaf(one: Leaf) -> Callable[..., None]:
    def function_of(builder: Any, kind: Any, of: Any, arguments: Any) -> Any:
        return cgutils.get_or_insert_function(builder.module, of, one.symbol(kind)), arguments

    LEAVES.append(one)
    return caller(one.function, one.signature, function_of, one.load)


def caller(
    like: Callable[..., None],
    signature: Callable[[Any], tuple[Any, ...]],
    function_of: Callable[..., Any],
    prepare: Callable[[Any], None] = lambda kind: None,
) -> Callable[..., None]:
    """Make what kernels call: code that was compiled for parameters of this signature.

    `function_of` gives LLVM's function, and its arguments, in a builder; it takes its name, its
    parameters and its docstring from `like`.
    """

    def call(*given: Any) -> Any:
        kind = next(g.dtype for g in given if getattr(g, "dtype", None) in FLOATS.values())
        prepare(kind)
        parameters = signature(kind)
        # an array may stand for the address of its first element
        taken = [
            g
            if isinstance(g, numba.types.Array) and isinstance(wanted, numba.types.CPointer)
            else wanted
            for g, wanted in zip(given, parameters, strict=True)
        ]

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arguments = [
                value if of == wanted else context.make_array(of)(context, builder, value).data
                for value, of, wanted in zip(arguments, taken, parameters, strict=True)
            ]
            convention, none = context.call_conv, numba.types.none
            of = convention.get_function_type(none, parameters)
            function, arguments = function_of(builder, kind, of, arguments)
            convention.call_function(builder, function, none, parameters, arguments)
            return context.get_dummy_value()

        return numba.types.void(*taken), emit

    # numba reads an intrinsic's parameters off the function itself
    names = ", ".join(inspect.signature(like).parameters)
    scope: dict[str, Any] = {"call": call}
    exec(f"def {like.__name__}(typing, {names}): return call({names})", scope)
    named = scope[like.__name__]
    named.__doc__ = like.__doc__
    return intrinsic(named)  # type: ignore[no-any-return]


def other(of: Any) -> Any:
    """Return the float type that `of` is not."""
    return numba.float64 if of == numba.float32 else numba.float32


def pointer(of: Any) -> Any:
    """Return the numba type of an address (see `simd.address`)."""
    return numba.types.CPointer(of)


def vector(of: Any, *, writable: bool = True) -> Any:
    """Return the numba type of a contiguous vector."""
    return numba.types.Array(of, 1, "C", readonly=not writable)


def matrix(of: Any) -> Any:
    """Return the numba type of a row-major matrix."""
    return numba.types.Array(of, 2, "C")


def named(cls: Any, *fields: Any) -> Any:
    """Return the numba type of a NamedTuple."""
    return numba.types.NamedTuple(fields, cls)
