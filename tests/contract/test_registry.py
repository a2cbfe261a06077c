"""The registry: every registered kind is complete, and tested by the contract."""

from __future__ import annotations

import ast
import importlib
import inspect
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from apps.providers import contract
from apps.providers.adapters.znet import Znet
from apps.providers.checks import kinds_are_declared
from apps.providers.contract import PollPlan
from apps.providers.registry import (
    ADAPTERS,
    SANDBOX,
    NoWire,
    UnknownKind,
    has_wire,
    kind_choices,
    load_adapter,
    load_wired,
)
from apps.simulator.dialects import DIALECTS
from tests.contract.local_suite import LocalContract
from tests.contract.suite import (
    AdapterContract,
    InBatches,
    WithCatalogue,
    WithCodes,
    WithListing,
    WithReference,
    recorded,
)

FORBIDDEN = ("django", "requests", "aiohttp", "socket", "apps.simulator", "apps.orders", "apps.providers.adapters")


SAME_DIALECT = {"internal": "client_api"}
"""Kinds that are another kind with other options: on the wire they are the same."""

WIRED = [kind for kind in ADAPTERS if has_wire(kind)]
LOCAL = [kind for kind in ADAPTERS if not has_wire(kind)]


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def classes_of(kind: str, suite: type[Any]) -> list[type[Any]]:
    """The classes that answer a suite for a kind, in the test module of the same name."""
    module = importlib.import_module(f"tests.contract.test_{kind}")
    classes = [value for value in vars(module).values() if inspect.isclass(value) and value is not suite]
    return [one for one in classes if issubclass(one, suite) and getattr(one, "kind", "") == kind]


def contract_of(kind: str) -> type[AdapterContract]:
    """The contract class of a kind with a wire."""
    return classes_of(kind, AdapterContract)[0]


class TestAdapters:
    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_is_registered_under_its_own_kind(self, kind: str) -> None:
        assert ADAPTERS[kind].kind == kind

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_has_a_contract_class(self, kind: str) -> None:
        assert classes_of(kind, AdapterContract if has_wire(kind) else LocalContract)

    @pytest.mark.parametrize("kind", WIRED)
    def test_has_recorded_replies(self, kind: str) -> None:
        assert len(recorded(kind)) > 20

    @pytest.mark.parametrize("kind", WIRED)
    def test_has_a_dialect_in_the_simulator(self, kind: str) -> None:
        assert SAME_DIALECT.get(kind, kind) in DIALECTS

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_has_a_page_that_the_index_links_to(self, kind: str) -> None:
        docs = Path(__file__).parents[2] / "docs"
        assert (docs / "providers" / f"{kind}.md").exists()
        assert f"(providers/{kind}.md)" in (docs / "DOCS_INDEX.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize("kind", WIRED)
    def test_answers_the_questions_that_its_capabilities_raise(self, kind: str) -> None:
        caps, contracts = ADAPTERS[kind].caps, contract_of(kind)
        impossible = contracts.IMPOSSIBLE
        assert issubclass(contracts, WithReference) is (caps.ref_format != "none")
        assert issubclass(contracts, InBatches) is (caps.status_batch_max > 1)
        assert issubclass(contracts, WithCatalogue) is hasattr(ADAPTERS[kind], "catalogue")
        assert issubclass(contracts, WithListing) is isinstance(ADAPTERS[kind], contract.ListingAdapter)
        assert issubclass(contracts, WithCodes) is ("ask.completed_with_code" not in impossible)

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_imports_no_framework_no_network_and_no_other_adapter(self, kind: str) -> None:
        source = inspect.getsourcefile(type(ADAPTERS[kind]))
        assert source is not None
        assert not [name for name in imports_of(Path(source)) if name.startswith(FORBIDDEN)]

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_flips_only_between_states_that_exist(self, kind: str) -> None:
        states = {"accepted", "delivered", "partial", "failed", "refused", "absent"}
        assert ADAPTERS[kind].caps.flipping <= states

    @pytest.mark.parametrize("kind", WIRED)
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

    def test_says_which_kinds_have_a_wire(self) -> None:
        assert has_wire("znet")
        assert LOCAL == ["stock", "manual", "sandbox"]

    def test_loads_a_wire_only_where_there_is_one(self) -> None:
        assert load_wired("znet") is ADAPTERS["znet"]
        for kind in LOCAL:
            with pytest.raises(NoWire, match=kind):
                load_wired(kind)


class TestKindChoices:
    def test_lists_kind_and_label(self) -> None:
        assert ("znet", "ZNET (PIN)") in kind_choices()

    def test_lists_every_kind_but_the_sandbox_which_nobody_makes_by_hand(self) -> None:
        assert [kind for kind, _ in kind_choices()] == [kind for kind in ADAPTERS if kind != SANDBOX]


CAPS = ADAPTERS["znet"].caps

CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"resend_same_ref_safe": True}, "proven"),
    ({"ref_format": "none", "find_by_own_ref": False}, "no duplicate behaviour"),
    ({"ref_format": "none", "dedup": "none"}, "nothing is found"),
    ({"ref_max_len": 17}, "18 digits"),
    ({"ref_format": "uuid4"}, "uuid4"),
    ({"absent_after_s": 900.0, "find_by_own_ref": False}, "look-up"),
    ({"absent_after_s": 649.0}, "after 650 s at least"),
    ({"ask_may_create": True, "ref_max_age_s": 1.0}, "must be safe"),
    ({"ask_may_create": True, "dedup": "rejects", "resend_same_ref_safe": True}, "must age"),
    (
        {"ask_may_create": True, "dedup": "rejects", "resend_same_ref_safe": True, "ref_max_age_s": 1.0},
        "sooner than re-sends",
    ),
    ({"status_batch_max": 0}, "at least one"),
    ({"burst": 0}, "at least one"),
    ({"status_batch_max": 2}, "list form"),
    ({"list_form": "csv"}, "list form"),
    ({"rate_per_s": 0.0}, "above zero"),
    ({"final_after_s": 0.0}, "flip"),
    ({"flipping": frozenset()}, "flip"),
    ({"poll": PollPlan(floor_s=40)}, "rise"),
]


class TestContradictions:
    @pytest.mark.parametrize(("changes", "text"), CONTRADICTIONS)
    def test_are_told(self, changes: dict[str, Any], text: str) -> None:
        assert any(text in told for told in contract.contradictions(replace(CAPS, **changes)))

    def test_absence_where_asking_may_buy_is_told(self) -> None:
        changed = replace(CAPS, absent_after_s=650.0, ask_may_create=True)
        assert "where asking may buy, not-found proves nothing" in contract.contradictions(changed)

    def test_a_batch_of_re_sends_is_told(self) -> None:
        changed = replace(CAPS, ask_may_create=True, status_batch_max=2)
        assert "a re-send is one order at a time" in contract.contradictions(changed)

    def test_a_declaration_that_leaves_a_trait_out_does_not_load(self) -> None:
        traits = {field.name: getattr(CAPS, field.name) for field in fields(CAPS)}
        for name in traits:
            with pytest.raises(TypeError, match=name):
                contract.Capabilities(**{key: value for key, value in traits.items() if key != name})

    def test_keeps_the_hub_from_starting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        broken = Znet()
        broken.caps = replace(CAPS, rate_per_s=0.0)
        monkeypatch.setitem(ADAPTERS, "znet", broken)
        errors = kinds_are_declared(None)
        assert [(error.id, error.msg) for error in errors] == [
            ("providers.E001", "Provider kind 'znet': a rate is above zero.")
        ]
        monkeypatch.undo()
        assert kinds_are_declared(None) == []
