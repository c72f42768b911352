"""The packages of kernels: which imports which, and what of them is public to fastdnn."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastdnn

ROOT = Path(__file__).parents[2]
PACKAGE = Path(fastdnn.__file__).parent
KERNELS = PACKAGE / "kernels"
NAME = "fastdnn.kernels"
CONTRACT = (ROOT / "kernels" / "README.md").read_text(encoding="utf-8")
(STATED,) = re.findall(r"^## Packages\n\n(.*?)\n\n", CONTRACT, re.MULTILINE | re.DOTALL)
IN_ORDER, _, BOUNDARY = (" ".join(one.split()) for one in re.split(r"\.\s(?=[A-Z])", STATED))
ORDER = re.findall(r"`(\w+)`", IN_ORDER)
FACES = "about", "dense", "finite"  # modules above all packages


def public() -> set[str]:
    """The modules that fastdnn may import, by their full names."""
    found = set()
    for text in re.findall(r"`([\w.{},]+)`", BOUNDARY):
        package, _, among = text.partition(".{")
        each = among.rstrip("}").split(",")
        found |= {f"{NAME}.{package}.{one}" for one in each} if among else {f"{NAME}.{package}"}
    return {NAME if one == f"{NAME}.kernels" else one for one in found}


@cache
def is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # it is below what is no package
        return False


def imports(path: Path) -> set[tuple[str, str]]:
    """All of kernels that a file imports, inside functions too: (module, name); "" for a module."""
    package = ["fastdnn", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                found.add((whole, "") if is_module(whole) else (module, alias.name))
    return {one for one in found if one[0] == NAME or one[0].startswith(f"{NAME}.")}


def module_of(path: Path) -> str:
    parts = path.relative_to(KERNELS).with_suffix("").parts
    return ".".join([NAME, *(part for part in parts if part != "__init__")])


def package_of(module: str) -> str:
    """The package of a module of kernels, "" for those above all packages."""
    first = module.removeprefix(NAME).lstrip(".").partition(".")[0]
    return first if (KERNELS / first).is_dir() else ""


SOURCES = {module_of(path): path for path in sorted(KERNELS.rglob("*.py"))}
OF_FASTDNN = sorted({*PACKAGE.rglob("*.py")} - {*SOURCES.values()})


def test_the_order_names_every_package() -> None:
    folders = {path.name for path in KERNELS.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ORDER)
    assert len(ORDER) == len(folders)
    tops = {path.stem for path in KERNELS.glob("*.py")}
    assert tops == {"__init__", *FACES}
    assert all((path / "__init__.py").is_file() for path in KERNELS.rglob("*") if holds(path))


def holds(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.py"))


def test_arrows_lead_to_earlier_packages_only() -> None:
    for module, path in SOURCES.items():
        own = package_of(module)
        may = ORDER[: ORDER.index(own) + 1] if own else [*ORDER, ""]
        others = {other for other, _ in imports(path)}
        assert not [one for one in others if package_of(one) not in may or one == NAME], module


def test_no_imports_run_in_a_circle() -> None:
    """Of modules: neither inside a package nor through others."""
    arrows = {name: {other for other, _ in imports(path)} for name, path in SOURCES.items()}
    while arrows:
        last = {name for name, of in arrows.items() if not (of - {name}) & arrows.keys()}
        assert last, f"a circle among {sorted(arrows)}"
        arrows = {name: of for name, of in arrows.items() if name not in last}


def test_what_has_an_underscore_stays_in_its_package() -> None:
    for module, path in SOURCES.items():
        others = [one for one in imports(path) if package_of(one[0]) != package_of(module)]
        assert not [one for one in others if "._" in ".".join(one)], module


def test_fastdnn_imports_what_is_public() -> None:
    used = set()
    for path in OF_FASTDNN:
        for module, name in imports(path):
            assert module in public(), f"{path.relative_to(PACKAGE)}: {module} is not public"
            assert not name.startswith("_"), f"{path.relative_to(PACKAGE)}: {module}.{name}"
            used.add(module)
    assert used == public()  # no more is said to be public than is used


@pytest.mark.parametrize("module", [NAME, f"{NAME}.engine"])
def test_of_a_package_fastdnn_imports_what_it_exports(module: str) -> None:
    exported = vars(__import__(module, fromlist=["*"]))["__all__"]
    used = {name for path in OF_FASTDNN for of, name in imports(path) if of == module and name}
    assert used <= set(exported)
    assert module == NAME or used == set(exported)


def test_the_test_sees_what_it_is_to_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All forms of an import."""
    forms = {
        "from fastdnn.kernels.blas import reduce": (f"{NAME}.blas.reduce", ""),
        "from fastdnn.kernels.blas.reduce import row_sum": (f"{NAME}.blas.reduce", "row_sum"),
        "import fastdnn.kernels.blas.reduce": (f"{NAME}.blas.reduce", ""),
        "from . import kernels": (NAME, ""),
        "from .kernels import dense": (f"{NAME}.dense", ""),
        "def f():\n    from .kernels.engine import Engine": (f"{NAME}.engine", "Engine"),
        "from fastdnn import kernels": (NAME, ""),
    }
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    path = tmp_path / "one.py"
    for text, wanted in forms.items():
        path.write_text(text)
        assert imports(path) == {wanted}
