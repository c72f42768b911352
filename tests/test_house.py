"""The rules of the house: how files import each other, what is exported, what is installed."""

import ast
import importlib
import importlib.metadata
import subprocess
import sys
import zipfile
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest

import fastdnn

ROOT = Path(__file__).parents[1]
PACKAGE = Path(fastdnn.__file__).parent
FROM_SOURCES = PACKAGE.parent == ROOT
KERNELS = sorted((PACKAGE / "kernels").rglob("*.py"))
SOURCES = sorted({*PACKAGE.rglob("*.py"), *KERNELS})
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_LINES = 400
# Files without a test file of their own, and why.
NO_TEST = {
    "__init__.py",  # names only; this file checks them
    "__main__.py",  # one call; test_cli.py makes it
}


def name_of(path: Path) -> str:
    base = PACKAGE.parent if path.is_relative_to(PACKAGE) else ROOT
    return path.relative_to(base).as_posix()


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All that a file's syntax tree holds."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path) -> set[tuple[int, str]]:
    """Every import of a file, at the top or inside a function: how many dots, and the module."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.level, node.module or ""))
    return found


def test_no_kernel_knows_fastdnn() -> None:
    for path in KERNELS:
        for dots, module in imports(path):
            assert dots <= 1, f"{path}: from {'.' * dots}{module}: other packages by full names"
            knows = not dots and module.split(".")[0] == "fastdnn"
            assert not knows or module.startswith("fastdnn.kernels."), f"{path}: {module}"


def modules(path: Path) -> set[str]:
    """What a file of the package imports from it: full names, of modules and of what is in them."""
    package = ("fastdnn", *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


OUTSIDE = [path for path in SOURCES if path not in KERNELS]


# Rooms that nothing but themselves and these files imports.
LAST = {"cli": {"__main__.py"}, "estimators": {"__init__.py"}, "textbook": {"__init__.py"}}


def test_rooms_at_the_end_are_not_imported() -> None:
    for path, (room, others) in product(OUTSIDE, LAST.items()):
        inside = path.relative_to(PACKAGE).as_posix()
        if not inside.startswith(f"{room}/") and inside not in others:
            found = [one for one in modules(path) if one.startswith(f"fastdnn.{room}")]
            assert not found, f"{path}: {found}"


def test_checkpoint_knows_no_model() -> None:
    inside = {module for dots, module in imports(PACKAGE / "checkpoint.py") if dots}
    assert inside == {"_files", "_headers"}


def test_kernels_are_imported_as_fastdnn_kernels() -> None:
    for path in [*SOURCES, *TESTS]:
        whole = {module.split(".")[0] for dots, module in imports(path) if not dots}
        assert "kernels" not in whole, path


def of_numba(path: Path) -> set[str]:
    """What a file takes from numba, by names or as attributes; JAX has a `jit` too."""
    found, called = set(), set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            called |= {one.asname or one.name for one in node.names if one.name == "numba"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numba":
            found |= {alias.name for alias in node.names}
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found |= {node.attr} if node.value.id in called else set()
    return found


def test_njit_is_named_in_jit_only() -> None:
    options = PACKAGE / "kernels" / "compiler" / "jit.py"
    decorators = {"njit", "jit", "vectorize", "guvectorize"}
    assert "njit" in of_numba(options)
    for path in set(SOURCES) - {options}:
        assert not of_numba(path) & decorators, path


def test_files_stay_short() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert not {path: count for path, count in lines.items() if count > MAX_LINES}


def test_every_file_has_its_test_file() -> None:
    inside = [path.relative_to(PACKAGE) for path in SOURCES if path.name not in NO_TEST]
    tests = [ROOT / "tests" / one.parent / f"test_{one.stem.lstrip('_')}.py" for one in inside]
    assert not [test for test in tests if not test.is_file()]


@pytest.mark.parametrize("name", ["fastdnn", "fastdnn.kernels"])
def test_all_is_what_is_exported(name: str) -> None:
    module = importlib.import_module(name)
    objects = {
        key: value for key, value in vars(module).items() if not isinstance(value, ModuleType)
    }
    exported = {
        key
        for key, value in objects.items()
        if not key.startswith("_") and getattr(value, "__module__", name).split(".")[0] == "fastdnn"
    }
    assert {key for key in module.__all__ if key in objects} - {"__version__"} == exported
    assert len(module.__all__) == len(set(module.__all__))
    assert all(hasattr(module, key) for key in module.__all__)


def modules_loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.split())


def test_import_is_light() -> None:
    heavy = {"matplotlib", "pandas", "pyarrow", "safetensors", "scipy", "sklearn", "torch"}
    more = modules_loaded_by("import fastdnn") - modules_loaded_by("import numba")
    assert not {module.split(".")[0] for module in more} & heavy


def test_cached_code_loads_nothing_to_compile_with() -> None:
    statement = (
        "import numpy as np, fastdnn; model = fastdnn.Sequential([fastdnn.Dense(3)]);"
        " model.compile(); model.fit(np.ones((2000, 4)), np.ones((2000, 3)), verbose=0);"
        " model.predict(np.ones((3, 4))); model.evaluate(np.ones((3, 4)), np.ones((3, 3)))"
    )
    modules_loaded_by(statement)  # which fills the cache
    assert not modules_loaded_by(statement) & {"numba.np.arrayobj", "scipy.linalg"}


@pytest.fixture(scope="module")
def installed_files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of the wheel: of one built here, or of the one that the tests run on."""
    if not FROM_SOURCES:
        files = importlib.metadata.files("fastdnn")
        assert files is not None
        return {str(file) for file in files if "__pycache__" not in file.parts}
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_package_and_nothing_else(installed_files: set[str]) -> None:
    wanted = {name_of(path) for path in SOURCES} | {"fastdnn/py.typed"}
    assert {name for name in installed_files if name.startswith("fastdnn/")} == wanted
    assert "fastdnn/kernels/__init__.py" in wanted
    assert not [name for name in installed_files if name.split("/")[0] in {"kernels", "tests"}]
