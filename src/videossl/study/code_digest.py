"""Which source files a stage depends on, found from the package's own imports.

A module counts with its syntax tree, without docstrings: a comment, a docstring or a reformat
changes nothing. A package counts with its data files too (the report's page and style), those of
the kinds in ``DATA``: what an editor leaves beside them changes nothing. Modules that only decide
what runs do not count (``ENGINE``): what they decide is in the fingerprint already, as parameters,
as the names of modules and as needed instances.

The same source has the same digest on every supported Python. This file needs the standard library
only, so that any interpreter can show it.
"""

from __future__ import annotations

import ast
import hashlib
import os
from functools import cache
from pathlib import Path

PACKAGE = "videossl"
ROOT = Path(__file__).resolve().parents[1]
ENGINE = frozenset(f"{PACKAGE}.{name}" for name in ("cli", "machine", "study", "__main__"))
DATA = frozenset({".css", ".csv", ".html", ".jinja", ".js", ".svg"})
Facts = tuple[str, tuple[str, ...]]  # of a module: digest of its tree, names that it may import
# digest of a module's source -> its facts; parsing takes longer than all else, so a caller may keep
# what is here and lay it in again
known: dict[str, Facts] = {}
# fields that a Python version has and another has not, and that change nothing a stage computes
UNCOUNTED = frozenset({"kind", "type_comment", "type_ignores"})


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
    data = hashlib.sha256()
    for file in _data_files(module):
        content = file.read_bytes()
        data.update(b"%s\0%d\0" % (os.fsencode(file.name), len(content)))
        data.update(content)
    data.update(_facts(module)[0].encode())
    return data.hexdigest()[:16]


@cache
def _facts(module: str) -> Facts:
    """What the syntax tree of a module says, remembered by the bytes of its source."""
    file = _file(module)
    if file is None:
        raise ModuleNotFoundError(f"no module named {module!r} in {ROOT}")
    source = file.read_bytes()
    # a relative import depends on where the module stands; the rest on how trees are read here
    place = f"{module}\0{_is_package(module)}\0{_own_digest()}\0".encode()
    mark = hashlib.sha256(place + source).hexdigest()
    if mark not in known:
        tree = ast.parse(source, str(file))
        known[mark] = hashlib.sha256(dump(tree).encode()).hexdigest(), _names(module, tree)
    return known[mark]


@cache
def _own_digest() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def dump(node: ast.AST) -> str:
    """A syntax tree as ASCII text that is equal on every Python version.

    Versions differ in which fields a node has (``type_params`` came with 3.12), and in how many
    pieces the text of an f-string has. So a field that is empty, None or 0 is left out, and so are
    docstrings; the text between two values of an f-string is one piece. ``ascii`` and not ``repr``:
    what is printable depends on the version's Unicode tables.
    """
    if isinstance(node, ast.Constant):  # its value always counts: None and 0 are values here
        return f"Constant({node.value!a})"
    fields = []
    for name in sorted(node._fields):
        value = getattr(node, name, None)
        if isinstance(value, list):
            if name == "body":
                value = _without_docstring(node, value)
            elif isinstance(node, ast.JoinedStr):
                value = _joined(value)
        empty = value is None or value == [] or (type(value) is int and value == 0)
        if name not in UNCOUNTED and not empty:
            fields.append(f"{name}={_dump_value(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _dump_value(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_dump_value, value))}]"
    return dump(value) if isinstance(value, ast.AST) else ascii(value)


def _without_docstring(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return body
    first = body[0] if body else None
    documented = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    return body[1:] if documented else body


def _joined(pieces: list[ast.expr]) -> list[ast.expr]:
    """An f-string's pieces with neighbouring texts made one, and without empty ones."""
    joined: list[ast.expr] = []
    for piece in pieces:
        if isinstance(piece, ast.Constant):
            text = str(piece.value)
            last = joined[-1] if joined else None
            if isinstance(last, ast.Constant):
                text = str(last.value) + text
                joined.pop()
            if not text:
                continue
            piece = ast.Constant(text)
        joined.append(piece)
    return joined


def _data_files(module: str) -> list[Path]:
    """Files beside a package's ``__init__.py`` that a stage may read: see ``DATA``."""
    file = _file(module)
    if file is None or file.name != "__init__.py" or module == PACKAGE:
        return []
    beside = (f for f in file.parent.iterdir() if f.suffix in DATA and not f.name.startswith("."))
    return sorted(f for f in beside if f.is_file())


@cache
def imports(module: str) -> frozenset[str]:
    """The package's modules that ``module`` imports anywhere, and the packages that hold it."""
    names = {".".join(module.split(".")[:n]) for n in range(1, module.count(".") + 1)}
    names |= {*_facts(module)[1]}
    return frozenset(name for name in names if _file(name) is not None) - {module}


def _names(module: str, tree: ast.Module) -> tuple[str, ...]:
    """Names below the package that a tree's imports can mean: modules, or what modules hold."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return tuple(sorted(name for name in names if name.split(".")[0] == PACKAGE))


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
