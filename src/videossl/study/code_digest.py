"""Which source files a stage depends on, found from the package's own imports.

A module counts with its syntax tree, without docstrings: a comment, a docstring or a reformat
changes nothing. A package counts with its data files too (the report's page and style). Modules
that only decide what runs do not count (``ENGINE``): what they decide is in the fingerprint
already, as parameters, as the names of modules and as needed instances.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "videossl"
ROOT = Path(__file__).resolve().parents[1]
ENGINE = frozenset(f"{PACKAGE}.{name}" for name in ("cli", "machine", "study", "__main__"))


def closure(modules: set[str]) -> dict[str, str]:
    """Module -> digest for ``modules`` and all of this package they import, directly or not."""
    found: dict[str, str] = {}
    pending = sorted(modules)
    while pending:
        module = pending.pop()
        if module in found or _engine(module):
            continue
        found[module] = digest(module)
        pending += sorted(imports(module))
    return dict(sorted(found.items()))


def _engine(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in ENGINE)


@cache
def digest(module: str) -> str:
    """Digest of a module's syntax tree, docstrings apart, and of a package's data files."""
    tree = _tree(module)
    data = hashlib.sha256()
    for file in _data_files(module):
        data.update(file.name.encode() + file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    data.update(ast.dump(tree).encode())
    return data.hexdigest()[:16]


def _data_files(module: str) -> list[Path]:
    """Files beside a package's ``__init__.py`` that are not Python."""
    file = _file(module)
    if file is None or file.name != "__init__.py" or module == PACKAGE:
        return []
    return sorted(f for f in file.parent.iterdir() if f.is_file() and f.suffix != ".py")


@cache
def imports(module: str) -> frozenset[str]:
    """The package's modules that ``module`` imports anywhere, and the packages that hold it."""
    names = {".".join(module.split(".")[:n]) for n in range(1, module.count(".") + 1)}
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return frozenset(name for name in names if _file(name) is not None) - {module}


def _absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    keep = len(parts) - node.level + (_is_package(module))
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _is_package(module: str) -> bool:
    file = _file(module)
    return file is not None and file.name == "__init__.py"


@cache
def _file(module: str) -> Path | None:
    if module != PACKAGE and not module.startswith(f"{PACKAGE}."):
        return None
    path = ROOT.joinpath(*module.split(".")[1:])
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _tree(module: str) -> ast.Module:
    file = _file(module)
    if file is None:
        raise ModuleNotFoundError(f"no module named {module!r} in {ROOT}")
    return ast.parse(file.read_text(encoding="utf-8"), str(file))
