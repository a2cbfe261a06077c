"""Changes every row of the providers' word, refusal and capability tables and looks whether a contract test sees it.

Only tests that read a recorded reply or a body of the simulator count: the contract classes and the runs against the
simulator. Prints every row whose change nobody noticed, and the share of those that were; exits 1 unless it is 100 %.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import _bootstrap
import aiohttp
import celery
import django.test
import hypothesis
import pytest
import requests

WARM = (aiohttp, celery, django.test, hypothesis, requests)
"""Loaded once, so that each changed copy starts in a moment."""

ROOT = _bootstrap.ROOT
ADAPTERS = ROOT / "apps" / "providers" / "adapters"
REGISTRY = ROOT / "apps" / "providers" / "registry.py"
TESTS = ROOT / "tests" / "contract"

CHOICES = frozenset(
    {
        "send_window_s",
        "place_timeout_s",
        "ask_timeout_s",
        "resolve_margin_s",
        "review_after_s",
        "failed_final_after_s",
        "rate_per_s",
        "burst",
        "first_s",
        "base_s",
        "cap_s",
    }
)
"""Traits that are decisions of ours and no facts of a provider: there is nothing to compare them with."""

PASSED, FAILED, NOT_LOADED = 0, 1, 4
"""Exit codes of pytest that say something about a change; 4 is a module that does not even import."""

MEASURE = "--measure-one"
"""How a process of this script is told to measure one kind into a file."""

SLOW = "not raises and not any_code and not noise and not odd_status"
"""Property tests are left to the second look, at rows that the recorded replies did not tell apart."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed row: the module's new source, and what was changed in words."""

    kind: str
    path: Path
    what: str
    source: str


# --- what can be changed


def find_mutants(kind: str) -> Iterator[Mutant]:
    """Every change of one row in the tables of a kind's adapter and of the word tables that it shares.

    Of a kind that is another's protocol with other traits: every change of those traits.
    """
    if not has_adapter(kind):
        tree = ast.parse(REGISTRY.read_text(encoding="utf-8"))
        for call in capability_calls(tree, kind.upper()):
            for what, source in changed_traits(tree, call):
                yield Mutant(kind, REGISTRY, f"{REGISTRY.stem}.{kind.upper()}: {what}", source)
        return
    for path in sources_of(kind):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, holder, field in tables_of(tree):
            for what, source in changed_rows(tree, holder, field):
                yield Mutant(kind, path, f"{path.stem}.{name}: {what}", source)
        for call in capability_calls(tree):
            for what, source in changed_traits(tree, call):
                yield Mutant(kind, path, f"{path.stem}.caps: {what}", source)


def sources_of(kind: str) -> list[Path]:
    """The adapter's file, and the shared files with word tables that it imports."""
    path = ADAPTERS / f"{kind}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    shared = [ROOT / (module.replace(".", "/") + ".py") for module in modules if module.endswith("_texts")]
    return [path, *(one for one in dict.fromkeys(shared) if one.exists())]


def tables_of(tree: ast.Module) -> Iterator[tuple[str, Any, str]]:
    """Names in capitals that hold a dict, tuple, list or set of rows: (name, node that holds the rows, its field)."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if not isinstance(target, ast.Name) or not target.id.strip("_").isupper() or value is None:
            continue
        yield from ((target.id, holder, field) for holder, field in _rows(value))


def _rows(value: ast.expr) -> Iterator[tuple[Any, str]]:
    if isinstance(value, ast.Dict):
        yield value, "keys"
        for inner in value.values:
            if isinstance(inner, ast.Dict):
                yield from _rows(inner)
    elif isinstance(value, ast.Tuple | ast.List | ast.Set):
        yield value, "elts"
    elif isinstance(value, ast.Call):
        for argument in value.args:
            yield from _rows(argument)
    elif isinstance(value, ast.BinOp):
        yield from _rows(value.left)
        yield from _rows(value.right)


def changed_rows(tree: ast.Module, holder: Any, field: str) -> Iterator[tuple[str, str]]:
    """The source without each row, and with another row's meaning in it."""
    for index in range(len(getattr(holder, field))):
        yield _without(tree, holder, index)
        if isinstance(holder, ast.Dict):
            yield from _with_another_meaning(tree, holder.values, index, holder.keys[index])
        elif isinstance(holder.elts[index], ast.Tuple):
            last = [row.elts[-1] for row in holder.elts if isinstance(row, ast.Tuple)]
            yield from _with_another_word(tree, holder.elts[index], last)


def _without(tree: ast.Module, holder: Any, index: int) -> tuple[str, str]:
    fields = ("keys", "values") if isinstance(holder, ast.Dict) else ("elts",)
    kept = {name: list(getattr(holder, name)) for name in fields}
    row = kept[fields[0]][index]
    for name in fields:
        setattr(holder, name, [node for at, node in enumerate(kept[name]) if at != index])
    source = ast.unparse(tree)
    for name in fields:
        setattr(holder, name, kept[name])
    return f"without {ast.unparse(row) if row else '**'}", source


def _with_another_meaning(
    tree: ast.Module, values: list[ast.expr], index: int, key: ast.expr | None
) -> Iterator[tuple[str, str]]:
    mine = values[index]
    for other in _others(mine, values):
        values[index] = other
        yield f"{ast.unparse(key) if key else '**'} means {ast.unparse(other)}", ast.unparse(tree)
        values[index] = mine


def _with_another_word(tree: ast.Module, row: ast.Tuple, values: Sequence[ast.expr]) -> Iterator[tuple[str, str]]:
    mine = row.elts[-1]
    for other in _others(mine, values):
        row.elts[-1] = other
        yield f"{ast.unparse(row.elts[0])} means {ast.unparse(other)}", ast.unparse(tree)
        row.elts[-1] = mine


def _others(mine: ast.expr, values: Sequence[ast.expr]) -> list[ast.expr]:
    """One value of the same table that is another than this one, if there is any."""
    different = {ast.dump(value): value for value in values if ast.dump(value) != ast.dump(mine)}
    return list(different.values())[:1]


def capability_calls(tree: ast.Module, name: str = "") -> Iterator[ast.Call]:
    """Each declaration of capabilities in the module, or the one that is kept under this name."""
    if name:
        kept = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name]
        yield from (node.value for node in kept if isinstance(node.value, ast.Call))
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Capabilities":
            yield node


def changed_traits(tree: ast.Module, call: ast.Call) -> Iterator[tuple[str, str]]:
    """The source with each trait that is a fact of the provider changed."""
    for keyword in call.keywords:
        inner = keyword.value
        if isinstance(inner, ast.Call) and inner.keywords:
            yield from changed_traits(tree, inner)
        elif keyword.arg and keyword.arg not in CHOICES:
            keyword.value = ast.Constant(another(keyword.arg, inner))
            yield f"{keyword.arg} = {ast.unparse(keyword.value)}", ast.unparse(tree)
            keyword.value = inner


OTHERS: dict[str, tuple[object, object]] = {
    "ref_format": ("uuid4", "digits18"),
    "dedup": ("none", "returns_original"),
    "list_form": ("csv", "json"),
    "quantity": ("any", "one"),
    "webhook": ("unsigned", "none"),
    "flipping": (frozenset(), frozenset()),
}


def another(name: str, node: ast.expr) -> Any:
    """A value that the trait could have, but has not."""
    value = node.value if isinstance(node, ast.Constant) else None
    if name in OTHERS:
        first, second = OTHERS[name]
        return None if isinstance(first, frozenset) else first if value != first else second
    if isinstance(value, bool):
        return not value
    if value is None:
        return 1_000_000.0
    return value * 2 + 1 if isinstance(value, int | float) else value


# --- who notices


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from another source than its file's."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = ".".join(mutant.path.relative_to(ROOT).with_suffix("").parts)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Only the changed module is ours."""
        if name != self._name:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self._mutant.path))

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source."""
        module.__file__ = str(self._mutant.path)
        exec(compile(self._mutant.source, str(self._mutant.path), "exec"), module.__dict__)  # noqa: S102 - our own code


def is_noticed(mutant: Mutant) -> bool:
    """Whether a contract test on a recorded reply, or one against the simulator, fails with this change."""
    return any(_fails(mutant, look) for look in looks_at(mutant.kind))


def looks_at(kind: str) -> list[list[str]]:
    """What pytest is asked to run, the quickest first."""
    contract = TESTS / f"test_{kind}.py"
    against = TESTS / f"test_{kind}_against_simulator.py"
    return [[*class_of(contract), "-k", SLOW], class_of(contract), *([[str(against)]] if against.exists() else [])]


def class_of(contract: Path) -> list[str]:
    """The contract classes of a test file: those that derive from the shared suite."""
    tree = ast.parse(contract.read_text(encoding="utf-8"))
    shared = {"AdapterContract", "LocalContract"}
    classes = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and shared & {base.id for base in node.bases if isinstance(base, ast.Name)}
    ]
    return [f"{contract}::{name}" for name in classes]


class CannotMeasure(Exception):
    """The tests did not run: what they would say about a change is not known."""


def _fails(mutant: Mutant | None, selection: Sequence[str]) -> bool:
    """Whether a test fails; a change that keeps the tests from being collected keeps the adapter from loading."""
    child = os.fork()
    if child == 0:
        os._exit(_run(mutant, selection))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (PASSED, FAILED, NOT_LOADED):
        raise CannotMeasure(f"pytest ended with {code} for {mutant.what if mutant else 'the unchanged tables'}")
    return code != PASSED


def _run(mutant: Mutant | None, selection: Sequence[str]) -> int:
    """pytest's exit code, in a process of its own; 99 when it could not even begin."""
    try:
        return _run_pytest(mutant, selection)
    except BaseException:
        return 99


def _run_pytest(mutant: Mutant | None, selection: Sequence[str]) -> int:
    if mutant is not None:
        sys.meta_path.insert(0, _Changed(mutant))
    sys.dont_write_bytecode = True
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", *selection]))


def measure(kind: str) -> dict[str, Any]:
    """The rows of one kind, and those whose change nobody noticed."""
    mutants = list(find_mutants(kind))
    if any(_fails(None, look) for look in looks_at(kind)):
        raise CannotMeasure(f"the contract tests of {kind} fail without any change")
    missed = [mutant.what for mutant in mutants if not is_noticed(mutant)]
    return {"kind": kind, "rows": len(mutants), "noticed": len(mutants) - len(missed), "missed": missed}


def kinds() -> list[str]:
    """Every kind that has a contract test."""
    names = [path.stem.removeprefix("test_") for path in sorted(TESTS.glob("test_*.py"))]
    registry = ast.parse(REGISTRY.read_text(encoding="utf-8"))
    return [name for name in names if has_adapter(name) or any(capability_calls(registry, name.upper()))]


def has_adapter(kind: str) -> bool:
    """Whether the kind is a protocol of its own."""
    return (ADAPTERS / f"{kind}.py").exists()


def main() -> int:
    """Measure the chosen kinds and tell the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kind", action="append", choices=kinds(), help="only this kind; may be repeated")
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    parser.add_argument("--list", action="store_true", help="only say what would be changed")
    options = parser.parse_args()
    chosen = options.kind or kinds()
    if options.list:
        print("\n".join(mutant.what for kind in chosen for mutant in find_mutants(kind)))
        return 0
    began = time.monotonic()
    results = _measure_all(chosen)
    for result in results:
        print(f"{result['kind']}: {result['noticed']} of {result['rows']} changed rows were noticed")
        print("".join(f"  missed: {what}\n" for what in result["missed"]), end="")
    rows, noticed = (sum(result[name] for result in results) for name in ("rows", "noticed"))
    total = {"kinds": len(results), "rows": rows, "noticed": noticed, "rate": round(100 * noticed / max(rows, 1), 2)}
    total["seconds"] = round(time.monotonic() - began)
    print(json.dumps(total) if options.json else f"kill rate: {total['rate']} % of {rows} rows")
    return 0 if rows and rows == noticed else 1


def _measure_all(chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Two kinds side by side: each in a process of its own, so that forks do not meet threads."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda kind: _measure_apart(kind, Path(folder) / f"{kind}.json"), chosen))


def _measure_apart(kind: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, MEASURE, kind, str(path)]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


if __name__ == "__main__":
    if sys.argv[1:2] == [MEASURE]:
        Path(sys.argv[3]).write_text(json.dumps(measure(sys.argv[2])), encoding="utf-8")
        sys.exit(0)
    sys.exit(main())
