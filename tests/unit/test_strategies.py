"""The order of routes: whose count, which is asked first, and that a draw is fair and can be repeated."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from apps.catalog.models import Package
from apps.orders.strategies import STRATEGIES, in_order, nearest_routes
from apps.providers.models import Route

EVERYBODY, VIP, GOLD = None, 1, 2


def route(pk: int, *, position: int = 1, group: int | None = None, weight: int = 1) -> Route:
    return Route(pk=pk, position=position, price_group_id=group, weight=weight)


def asked(strategy: str, routes: list[Route], costs: dict[int, int | None] | None = None, draw: int = 1) -> list[int]:
    return [found.pk for found in in_order(strategy, routes, costs or {}, (draw, 1))]


class TestTheNearestRoutes:
    ROUTES = [route(1), route(2, group=VIP), route(3, group=VIP, position=2)]

    @pytest.mark.parametrize(
        ("groups", "found"),
        [([None], [1]), ([VIP, None], [2, 3]), ([GOLD, VIP, None], [2, 3]), ([GOLD, None], [1]), ([GOLD], [])],
    )
    def test_are_those_of_the_first_group_that_has_any(self, groups: list[int | None], found: list[int]) -> None:
        assert [one.pk for one in nearest_routes(self.ROUTES, groups)] == found


class TestAStrategy:
    def test_is_there_for_every_word(self) -> None:
        assert set(STRATEGIES) == set(Package.Strategy)

    def test_by_position_keeps_the_positions(self) -> None:
        assert asked("priority", [route(1, position=3), route(2, position=1), route(3, position=2)]) == [2, 3, 1]

    def test_by_cost_begins_with_the_cheapest_and_ends_with_the_unknown(self) -> None:
        routes = [route(1, position=1), route(2, position=2), route(3, position=3), route(4, position=4)]
        assert asked("cheapest", routes, {1: None, 2: 30, 3: 20, 4: 30}) == [3, 2, 4, 1]
        assert asked("cheapest", routes, {2: 0}) == [2, 1, 3, 4]

    def test_by_weight_gives_each_its_share_of_ten_thousand_orders(self) -> None:
        routes = [route(1, weight=70), route(2, weight=20), route(3, weight=10)]
        firsts = Counter(asked("weighted", routes, draw=order)[0] for order in range(1, 10_001))
        assert {pk: round(count / 100) for pk, count in firsts.items()} == {1: 70, 2: 20, 3: 10}

    def test_by_weight_gives_the_same_answer_to_the_same_question(self) -> None:
        routes = [route(pk) for pk in range(1, 6)]
        assert [asked("weighted", routes, draw=9) for _ in range(3)] == [asked("weighted", routes[::-1], draw=9)] * 3

    def test_by_weight_draws_again_for_the_next_attempt(self) -> None:
        routes = [route(1), route(2)]
        firsts = {in_order("weighted", routes, {}, (9, attempt))[0].pk for attempt in range(1, 20)}
        assert firsts == {1, 2}


class TestTheHours:
    def at(self, hour: int, minute: int = 0) -> datetime:
        return datetime(2026, 3, 2, hour, minute, tzinfo=ZoneInfo("Europe/Istanbul"))

    @pytest.mark.parametrize(
        ("opens", "closes", "open_at", "closed_at"),
        [(9, 17, [9, 16], [8, 17, 23]), (22, 2, [22, 23, 0, 1], [2, 12, 21])],
    )
    def test_include_their_beginning_and_not_their_end(
        self, opens: int, closes: int, open_at: list[int], closed_at: list[int]
    ) -> None:
        found = Route(opens_at=time(opens), closes_at=time(closes))
        assert [found.is_open(self.at(hour)) for hour in open_at + closed_at] == [True] * len(open_at) + [False] * len(
            closed_at
        )

    def test_are_always_where_none_are_set(self) -> None:
        assert Route().is_open(self.at(3))

    @pytest.mark.parametrize(("hour", "opening"), [(8, (2, 9)), (17, (3, 9)), (9, (3, 9))])
    def test_begin_again_today_or_tomorrow(self, hour: int, opening: tuple[int, int]) -> None:
        found = Route(opens_at=time(9), closes_at=time(17)).next_opening(self.at(hour))
        assert (found.day, found.hour) == opening

    def test_begin_by_the_clock_on_the_wall_when_it_is_put_forward(self) -> None:
        """Berlin, 29 March 2026: nine o'clock is an hour earlier in UTC than the day before."""
        evening = datetime(2026, 3, 28, 20, tzinfo=ZoneInfo("Europe/Berlin"))
        opening = Route(opens_at=time(9), closes_at=time(17)).next_opening(evening)
        assert opening.astimezone(UTC) == datetime(2026, 3, 29, 7, tzinfo=UTC)
