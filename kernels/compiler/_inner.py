"""How numba compiles a function that only other compiled functions call.

Numba optimises every function by itself and makes machine code of it, and does both again wherever
it is linked into a caller. A function that Python never calls needs neither: here it stays LLVM IR
until the function that Python calls is optimised as a whole. That halves the time of a cold start.
Nor is it linked with what it calls, which would copy the innermost functions once per level: who
calls it is told of all of them, and the outermost function alone is linked, with each once.

Its symbol is one that no other process makes. Numba tells functions of one name and signature (the
closures of a factory) apart by a number that it counts in each process, but the linker takes one of
all cached functions with a symbol for every one of them.
"""

from __future__ import annotations

import secrets
from typing import Any

from llvmlite.binding import Linkage
from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.runtime import rtsys
from numba.core.typed_passes import (
    AnnotateTypes,
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import (
    FixupArgs,
    GenericRewrites,
    InlineInlinables,
    IRProcessing,
    ReconstructSSA,
    TranslateByteCode,
)


class _InnerLibrary(CPUCodeLibrary):  # type: ignore[misc]
    """IR to be linked into other libraries, and never to be run by itself."""

    def add_llvm_module(self, ll_module: Any) -> None:
        self._final_module.link_in(ll_module)

    def add_linking_library(self, library: Any) -> None:
        # numba's runtime, which counts references, is added to every function
        if library not in (rtsys.library, *self._linking_libraries):
            super().add_linking_library(library)

    def finalize(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = Linkage.linkonce_odr  # its callers' modules may inline it
        self._shared_module = self._final_module
        self._finalize_dynamic_globals()
        self._finalized = True

    def with_callees(self) -> list[Any]:
        """Return all that a caller has to be linked with."""
        return [self, *self._linking_libraries]


@register_pass(mutates_CFG=True, analysis_only=False)
class _InnerLowering(NativeLowering):  # type: ignore[misc]
    _name = "fastdnn_inner_lowering"

    def run_pass(self, state: Any) -> bool:
        context = state.targetctx
        state.library = _InnerLibrary(context.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        state.func_id.unique_id = secrets.token_hex(8)
        super().run_pass(state)
        # numba knows an overload by its entry point, which must be a built-in function
        key = list[object]().append
        context.insert_user_function(key, state.cr.fndesc, state.library.with_callees())
        state.cr = state.cr._replace(cfunc=key)
        return True


# All of numba's nopython pipeline that a kernel needs. The other passes are for what no kernel has
# (closures, comprehensions, contexts, expressions of whole arrays, branches on literals), and each
# would look for it in each kernel.
_PASSES = (
    TranslateByteCode,
    FixupArgs,
    IRProcessing,
    GenericRewrites,
    InlineInlinables,
    ReconstructSSA,
    NopythonTypeInference,
    PreLowerStripPhis,
    IRLegalization,
    AnnotateTypes,
    _InnerLowering,
    NoPythonBackend,
)


class InnerCompiler(CompilerBase):  # type: ignore[misc]
    """A kernel up to LLVM IR; for ``njit(pipeline_class=...)``."""

    def define_pipelines(self) -> list[PassManager]:
        """Return the passes."""
        manager = PassManager("fastdnn_inner")
        for one in _PASSES:
            manager.add_pass(one, one.name())
        manager.finalize()
        return [manager]
