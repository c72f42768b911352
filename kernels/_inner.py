"""How numba compiles a function that only other compiled functions call.

Numba optimises every function by itself and makes machine code of it, and does both again wherever
it is linked into a caller. A function that Python never calls needs neither: here it stays LLVM IR
until the function that Python calls is optimised as a whole. That halves the time of a cold start.

Its symbol is one that no other process makes. Numba tells functions of one name and signature (the
closures of a factory) apart by a number that it counts in each process, but the linker takes one of
all cached functions with a symbol for every one of them.
"""

from __future__ import annotations

import secrets
from typing import Any

from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import NativeLowering


class _InnerLibrary(CPUCodeLibrary):  # type: ignore[misc]
    """IR to be linked into other libraries, and never to be run by itself."""

    def add_llvm_module(self, ll_module: Any) -> None:
        self._final_module.link_in(ll_module)

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


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
        context.insert_user_function(key, state.cr.fndesc, [state.library])
        state.cr = state.cr._replace(cfunc=key)
        return True


class InnerCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's nopython pipeline up to LLVM IR; for ``njit(pipeline_class=...)``."""

    def define_pipelines(self) -> list[PassManager]:
        """The passes."""
        manager = PassManager("fastdnn_inner")
        for define in (
            DefaultPassBuilder.define_untyped_pipeline,
            DefaultPassBuilder.define_typed_pipeline,
            DefaultPassBuilder.define_nopython_lowering_pipeline,
        ):
            manager.passes.extend(define(self.state).passes)
        manager.passes = [
            (_InnerLowering if one is NativeLowering else one, why) for one, why in manager.passes
        ]
        manager.finalize()
        return [manager]
