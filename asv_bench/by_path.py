"""Parts of the working tree, whichever fastdnn is installed: benchmarks do not change with it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def _fastdnn() -> Path:
    """The working tree's package; the installed one where this folder is copied without it."""
    if (ROOT / "fastdnn").is_dir():
        return ROOT / "fastdnn"
    found = importlib.util.find_spec("fastdnn")
    if found is None or found.origin is None:
        raise ImportError("there is no fastdnn, neither beside asv_bench nor installed")
    return Path(found.origin).parent


def working_tree(package: str) -> ModuleType:
    """A package inside the working tree's ``fastdnn/``, imported under a name of its own."""
    folder = _fastdnn() / package
    name = f"working_tree_{folder.name}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def comparison(part: str) -> ModuleType:
    """``fastdnn/cli/benchmark``'s module `part` (``contenders`` or ``race``)."""
    return importlib.import_module(f"{working_tree('cli/benchmark').__name__}.{part}")
