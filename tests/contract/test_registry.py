"""The registry: every registered kind is complete, and tested by the contract."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from apps.providers import contract
from apps.providers.registry import ADAPTERS, UnknownKind, kind_choices, load_adapter
from tests.contract.suite import BALANCES, MEANING, AdapterContract, recorded, situation_of

FORBIDDEN = ("django", "requests", "aiohttp", "socket", "apps.simulator", "apps.orders", "apps.providers.adapters")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


class TestAdapters:
    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_is_registered_under_its_own_kind(self, kind: str) -> None:
        assert ADAPTERS[kind].kind == kind

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_has_a_contract_class(self, kind: str) -> None:
        module = importlib.import_module(f"tests.contract.test_{kind}")
        classes = [value for value in vars(module).values() if inspect.isclass(value)]
        assert kind in [one.kind for one in classes if issubclass(one, AdapterContract) and one is not AdapterContract]

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_has_recorded_replies_for_each_situation(self, kind: str) -> None:
        assert {situation_of(path) for path in recorded(kind)} == {*MEANING, *BALANCES}

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_imports_no_framework_no_network_and_no_other_adapter(self, kind: str) -> None:
        source = inspect.getsourcefile(type(ADAPTERS[kind]))
        assert source is not None
        assert not [name for name in imports_of(Path(source)) if name.startswith(FORBIDDEN)]

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_flips_only_between_states_that_exist(self, kind: str) -> None:
        states = {"accepted", "delivered", "partial", "failed", "refused", "absent"}
        assert ADAPTERS[kind].caps.flipping <= states

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_has_every_verb_of_the_port(self, kind: str) -> None:
        verbs = [name for name, _ in inspect.getmembers(contract.Adapter, inspect.isfunction) if name[0] != "_"]
        assert sorted(verbs) == ["balance", "find", "place", "status"]
        assert all(callable(getattr(ADAPTERS[kind], verb)) for verb in verbs)


class TestLoadAdapter:
    def test_loads_a_registered_kind(self) -> None:
        assert load_adapter("znet") is ADAPTERS["znet"]

    def test_says_which_kinds_exist(self) -> None:
        with pytest.raises(UnknownKind, match=r"Asked for 'zent'; there are: .*znet") as raised:
            load_adapter("zent")
        assert raised.value.kind == "zent"


class TestKindChoices:
    def test_lists_kind_and_label(self) -> None:
        assert ("znet", "ZNET (PIN)") in kind_choices()
        assert len(kind_choices()) == len(ADAPTERS)
