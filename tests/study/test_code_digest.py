"""Which code counts for a stage, and that its digest is the same wherever it is computed."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.study import ROOT
from videossl.study import code_digest

SOURCE = ROOT / "src/videossl"
OTHERS = [f"3.{minor}" for minor in range(11, 15) if minor != sys.version_info.minor]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty folder in the place of the package's."""
    cached = (code_digest.digest, code_digest.imports, code_digest._file, code_digest._facts)
    monkeypatch.setattr(code_digest, "ROOT", tmp_path)
    for function in cached:
        function.cache_clear()
    yield tmp_path
    for function in cached:
        function.cache_clear()


def test_docstrings_do_not_count(package):
    (package / "a.py").write_text('"""One."""\n\n\ndef f():\n    """Two."""\n    return 1\n')
    (package / "b.py").write_text("def f():\n    # a comment\n    return 1\n")
    (package / "c.py").write_text("def f():\n    return 2\n")
    a, b, c = (code_digest.digest(f"videossl.{name}") for name in "abc")
    assert a == b != c


def test_imports_are_found_wherever_they_stand(package):
    (package / "sub").mkdir()
    (package / "sub/__init__.py").write_text("")
    (package / "sub/one.py").write_text("from . import two\nfrom ..top import x\n")
    (package / "sub/two.py").write_text("def f():\n    import videossl.late\n")
    (package / "top.py").write_text("import numpy\n")
    (package / "late.py").write_text("")
    found = set(code_digest.closure({"videossl.sub.one"}))
    assert found == {f"videossl.{n}" for n in ("sub", "sub.one", "sub.two", "top", "late")}


def test_a_packages_data_files_count(package):
    (package / "page").mkdir()
    (package / "page/__init__.py").write_text("")
    (package / "page/one.py").write_text("")
    (package / "page/style.css").write_text("a")
    before = code_digest.closure({"videossl.page.one"})
    (package / "page/style.css").write_text("b")
    code_digest.digest.cache_clear()
    assert code_digest.closure({"videossl.page.one"}) != before


@pytest.mark.parametrize(
    "name",
    [
        *(".style.css.swp", "style.css~", "style.css.orig", "style.css.tmp", "#style.css#"),
        *(".style.css", ".#style.css", "4913", ".DS_Store", "notes.txt"),
    ],
)
def test_what_an_editor_leaves_changes_nothing(package, name):
    (package / "page").mkdir()
    (package / "page/__init__.py").write_text("")
    (package / "page/style.css").write_text("a")
    before = code_digest.digest("videossl.page")
    (package / "page" / name).write_text("b")
    code_digest.digest.cache_clear()
    assert code_digest.digest("videossl.page") == before


def test_every_data_file_of_the_package_is_of_a_declared_kind():
    files = {f for f in SOURCE.rglob("*") if f.is_file() and "__pycache__" not in f.parts}
    data = {f.name: f.suffix for f in files if f.suffix != ".py" and f.parent != SOURCE}
    assert {"page.html", "style.css"} <= set(data)
    assert set(data.values()) <= code_digest.DATA


def test_two_data_files_are_not_one(package):
    for name, files in {"one": {"a.css": "b.css1"}, "two": {"a.css": "", "b.css": "1"}}.items():
        (package / name).mkdir()
        (package / name / "__init__.py").write_text("")
        for file, text in files.items():
            (package / name / file).write_text(text)
    assert code_digest.digest("videossl.one") != code_digest.digest("videossl.two")


def dump(source: str) -> str:
    return code_digest.dump(ast.parse(source))


def test_the_form_of_a_dump():
    assert dump("x = f(1, None, 0)") == (
        "Module(body=[Assign(targets=[Name(ctx=Store(),id='x')],value=Call(args=[Constant(1),"
        "Constant(None),Constant(0)],func=Name(ctx=Load(),id='f')))])"
    )


def test_fields_that_only_newer_versions_have_do_not_show():
    tree = ast.parse("def f(): return 1")
    before = code_digest.dump(tree)
    function = tree.body[0]
    function._fields = (*function._fields, "later", "flag", "nothing")
    function.later, function.flag, function.nothing = [], 0, None
    assert code_digest.dump(tree) == before
    function.later = [ast.Name("T", ast.Load())]
    assert code_digest.dump(tree) != before


SAME = [
    ("x = u'a'", "x = 'a'"),
    ("def f():\n    'Doc.'\n    return 1", "def f():\n    return 1"),
    ("class A:\n    'Doc.'\n    x = 1", "class A:\n    x = 1"),
    ("x = f'a{y}' 'b'  # comment", "x = (f'a{y}b')"),
    ("x = f'{y}'", "x = f'' f'{y}' ''"),
]
OTHER = [
    ("x = 0", "x = None"),
    ("x = 0", "x = False"),
    ("x = 1", "x = 1.0"),
    ("x = ''", "x = b''"),
    ("x = 0.0", "x = -0.0"),
    ("x = 1", "x: int = 1"),
    ("def f(): return", "def f(): return None"),
    ("def f(): return 1", "async def f(): return 1"),
    ("[a for a in b]", "[a for a in b if a]"),
    ("f(*a)", "f(a)"),
    ("f(**a)", "f(a=a)"),
    ("x = {**a}", "x = {None: a}"),
    ("from . import a", "from .. import a"),
    ("from a import b", "from .a import b"),
    ("x = f'{y}'", "x = f'{y!r}'"),
    ("x = f'{y}'", "x = f'{y:2}'"),
    ("x = f'{y}{z}'", "x = f'{y} {z}'"),
    ("match a:\n    case None: pass", "match a:\n    case False: pass"),
    ("def f(*, a, b=1): pass", "def f(*, a=1, b): pass"),
    ("'a'\nx = 'b'", "x = 'a'"),
]


@pytest.mark.parametrize(("one", "two"), SAME)
def test_what_computes_the_same_counts_the_same(one, two):
    assert dump(one) == dump(two)


@pytest.mark.parametrize(("one", "two"), OTHER)
def test_what_may_compute_something_else_counts(one, two):
    assert dump(one) != dump(two)


FORMS = [source for pair in (*SAME, *OTHER) for source in pair] + [
    "x = f'{{{y!r:>{w}.{p}}}}' 'z' f'{y=}' f'{y:}'",
    'x = f"""{\n  y\n} {y + "a"}"""',
    "x = '\\N{BULLET}\\u0301 \U0001fae8'",  # a character that 3.11's tables lack
    "class A(B, metaclass=C):\n    @property\n    def f(self, /, *a: int, **k) -> 'A': ...",
    "try:\n    pass\nexcept* (A, B) as e:\n    raise C from e\nelse:\n    pass",
    "with (open(a) as f, b): del f, b[1:2, ...]",
    "match a:\n    case [1, *_] | {'k': v, **r} if v: pass\n    case C(x=1) as c: pass",
    "x = lambda: (yield); y = (z := 1e400j); w = 0xFFFF_FFFF",
    "async def f():\n    async for a in b: await c\n    return [a async for a in b]",
    "for x in a:  # type: int\n    nonlocal_ = not -x if x is not None else ~x",
]


def interpreter(version: str) -> str:
    """An interpreter of that version that runs; skips where there is none."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in [shutil.which(name), *sorted(pyenv.glob(f"versions/{version}*/bin/{name}"))]:
        # a shim of pyenv's may be found and yet have nothing to run
        if path and not subprocess.run([path, "-c", ""], capture_output=True).returncode:
            return str(path)
    pytest.skip(f"no {name} on this machine")


ASK = """
import ast, json, runpy, sys
code = runpy.run_path(sys.argv[1])
asked = json.load(sys.stdin)
json.dump({
    "digests": {m: [code["digest"](m), sorted(code["imports"](m))] for m in asked["modules"]},
    "dumps": [code["dump"](ast.parse(source)) for source in asked["forms"]],
}, sys.stdout)
"""


@pytest.mark.parametrize("version", OTHERS)
def test_other_pythons_compute_the_same(version):
    parts = [file.relative_to(SOURCE.parent).with_suffix("").parts for file in SOURCE.rglob("*.py")]
    modules = sorted(".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts)
    assert len(modules) > 50
    done = subprocess.run(
        [interpreter(version), "-S", "-c", ASK, str(SOURCE / "study/code_digest.py")],
        input=json.dumps({"modules": modules, "forms": FORMS}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    code_digest.digest.cache_clear()
    assert theirs["digests"] == {
        m: [code_digest.digest(m), sorted(code_digest.imports(m))] for m in modules
    }
    assert theirs["dumps"] == [dump(source) for source in FORMS]
