"""What the page about other shops' languages says is so: its addresses, words and times, and its examples are run."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client

from apps.api import client_api, client_api_shapes, smm_door, smm_door_shapes, znet_door, znet_door_shapes
from apps.orders import unseen
from apps.orders.models import Order
from apps.orders.refusals import OrderRefused
from tests.factories import Shop, Stage, make_shop, new_player
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.door_buyers import key_of

__all__ = ["committed", "simulator", "stage"]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "dialects.md").read_text()
TL_NUMBER = {state: text.partition(":")[0] for state, text in znet_door_shapes.TL_STATE.items()}


def rows(header: str) -> list[list[str]]:
    """The cells of the table whose header begins so, without the header."""
    lines = PAGE.partition(f"\n{header} |")[2].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[: lines.index("")]]
    return [[cell.strip("`") for cell in row] for row in cells]


def examples(heading: str) -> list[tuple[str, str]]:
    """The requests of a section with their answers."""
    block = PAGE.partition(f"\n## {heading}\n")[2].partition("```\n")[2].partition("```")[0]
    pairs = [example.splitlines() for example in block.strip().split("\n\n")]
    return [(request, answer) for request, answer in pairs]


class TestTheTables:
    def test_have_every_address_and_action(self) -> None:
        assert [row[0] for row in rows("| address")] == list(znet_door.ADDRESSES)
        assert [row[0] for row in rows("| action")] == list(smm_door.ACTIONS)

    def test_have_every_status_in_its_words(self) -> None:
        told = {row[0]: tuple(row[1:]) for row in rows("| status")}
        assert told == {
            status: (
                client_api_shapes.TOLD_STATUS[status],
                znet_door_shapes.TOLD_STATE[status],
                TL_NUMBER[znet_door_shapes.TOLD_STATE[status]],
                smm_door_shapes.TOLD_STATUS[status],
            )
            for status in znet_door_shapes.TOLD_STATE
        }

    @pytest.mark.parametrize(
        ("heading", "refusals", "other"),
        [
            ("### Refusals", znet_door.REFUSALS, znet_door.NO_STOCK),
            ("### Errors", smm_door.REFUSALS, "Not available now"),
        ],
    )
    def test_have_every_refusal(self, heading: str, refusals: dict[type[OrderRefused], str], other: str) -> None:
        section = PAGE.partition(f"\n{heading}\n")[2]
        told = re.findall(r"^\| (\w+) \| ([^|]+) \|$", section.partition("\n\nAny other")[0], re.MULTILINE)
        assert dict(told[1:]) == {kind.__name__: text for kind, text in refusals.items()}
        assert f'Any other refusal is "{other}' in section

    def test_give_the_right_figures(self) -> None:
        assert timedelta(minutes=10) == unseen.IN_FLIGHT_FOR
        assert timedelta(days=90) == unseen.KEPT_FOR
        assert (client_api.MOST_ORDERS, smm_door.MOST_ORDERS, smm_door_shapes.PER) == (50, 100, 1000)
        told = next(row for row in rows("| | client API") if row[0] == "several orders in one question")
        assert told[1:] == ["50", "one", "100"]
        for text in ("waiting for 10 minutes", "stays closed for 90 days", znet_door.TL_REPEATED):
            assert " ".join(text.split()) in " ".join(PAGE.split())


class TestTheExamples:
    def run(self, shop: Shop, heading: str) -> None:
        """Send every request of the section, in turn, and compare its answer."""
        key, player, order = key_of(shop), new_player(), ""
        for request, answer in examples(heading):
            values = {"key": key, "kod": key.partition(".")[0], "player": player, "order": order}
            values |= {"product": str(shop.package.product_id), "package": str(shop.package.pk)}
            method, address, *form = self.fill(request, values).split(" ")
            kind = "application/x-www-form-urlencoded"
            reply = Client().generic(method, address, "".join(form), content_type=kind)
            order = str(Order.objects.latest("pk").pk) if Order.objects.exists() else ""
            assert reply.content.decode() == self.fill(answer, {"order": order})

    def fill(self, text: str, values: dict[str, str]) -> str:
        for name, value in values.items():
            text = text.replace("{" + name + "}", value)
        return text

    def test_of_znet_are_answered_so(self, stage: Stage) -> None:
        self.run(make_shop(stage.url), "ZNET")

    def test_of_smm_are_answered_so(self, stage: Stage) -> None:
        self.run(make_shop(stage.url, needs_code=False), "SMM v2")

    def test_are_found(self) -> None:
        assert [len(examples(heading)) for heading in ("ZNET", "SMM v2")] == [3, 3]
