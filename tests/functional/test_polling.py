"""Learned polling with real orders: what completions teach, when the next question comes, and what is told of it."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.core.management import call_command

from apps.common import clock
from apps.orders import monitoring, outcomes, services
from apps.orders.models import Attempt, DueCheck, Order, PollStatistic
from apps.orders.news import News
from apps.orders.polling import learning
from apps.orders.polling.hazard import Observation
from apps.orders.polling.learning import Completion
from apps.providers.contract import Outcome, Result
from apps.providers.models import Integration
from tests.factories import Shop, Stage, due_of, make_integration, make_shop, standing_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import browser_of, english, make_person

__all__ = ["committed", "english", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

LEARNED: dict[str, Any] = {"polling": "learned"}


def sent(stage: Stage, shop: Shop, **fate: Any) -> Order:
    """An order whose purchase was accepted."""
    order = stage.order(shop, **fate)
    assert services.try_auto_dispatch(order.pk).said == "accepted"
    return order


def ask(stage: Stage, order: Order) -> None:
    """Go on to the order's next due time and ask."""
    stage.move_to(due_of(order)[0][1])
    monitoring.check_order(order.pk)


def gap_of(order: Order) -> float:
    """Seconds until the order is asked about next."""
    return (due_of(order)[0][1] - clock.now()).total_seconds()


def teach(shop: Shop, count: int, *, after_s: float = 10, by_s: float = 14, product_id: int | None = None) -> None:
    """As if so many of the shop's orders had ended between two answers."""
    product_id = shop.package.product_id if product_id is None else product_id
    learning.record([Completion(shop.integration.pk, product_id, Observation(after_s, by_s, 2))] * count)


def rows() -> dict[tuple[int, int], tuple[int, float, float]]:
    """Key -> completions, questions, lag."""
    return {
        (row.integration_id, row.product_id): (row.completions, row.asked, row.lag_s)
        for row in PollStatistic.objects.all()
    }


class TestWhatIsLearned:
    def test_is_kept_for_the_product_the_integration_and_all(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = sent(stage, shop)
        ask(stage, order)
        assert standing_of(order)[0] == "completed"
        keys = [(shop.integration.pk, shop.package.product_id), (shop.integration.pk, 0), (0, 0)]
        assert rows() == dict.fromkeys(keys, (1, 1, 30))

    def test_reaches_from_the_last_answer_to_this_one(self, stage: Stage) -> None:
        order = sent(stage, make_shop(stage.url), complete_after_s=100)
        for _ in range(3):
            ask(stage, order)
        assert standing_of(order)[0] == "completed"
        row = PollStatistic.objects.get(integration_id=0)
        assert (row.completions, row.asked, row.lag_s) == (1, 3, 30)  # from 90 s to 150 s

    def test_is_learned_by_the_sweep_too(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        orders = [sent(stage, shop) for _ in range(3)]
        stage.move(60)
        monitoring.sweep()
        assert {standing_of(order)[0] for order in orders} == {"completed"}
        assert rows()[0, 0][0] == 3

    def test_is_nothing_where_a_question_failed_before(self, stage: Stage) -> None:
        order = sent(stage, make_shop(stage.url), status_faults=["500"])
        ask(stage, order)
        ask(stage, order)
        assert standing_of(order)[0] == "completed"
        assert rows() == {}

    def test_is_nothing_from_an_order_that_was_in_doubt(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), place="accept_then_500", complete_after_s=200)
        services.try_auto_dispatch(order.pk)
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        assert rows() == {}

    def test_is_nothing_from_a_person(self, stage: Stage) -> None:
        order = sent(stage, make_shop(stage.url, needs_code=False))
        attempt = Attempt.objects.get(order=order)
        said = Result(Outcome.COMPLETED, attempt.reference)
        fence = DueCheck.objects.get(order=order).fence
        changes = outcomes.apply([News(attempt.pk, order.pk, "person", said, None, clock.now(), fence, 1)])
        assert standing_of(order)[0] == "completed"
        assert [change.taught for change in changes] == [None]

    def test_is_a_failure_at_its_first_reading_alone(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = sent(stage, shop, final="cancelled")
        ask(stage, order)
        assert rows()[0, 0] == (1, 1, 30)
        stage.run_until_quiet()
        assert standing_of(order)[0] == "rejected"
        assert rows()[0, 0][0] == 1

    def test_is_kept_when_many_end_at_once(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        teach(shop, 30)
        teach(shop, 30)
        assert {row[0] for row in rows().values()} == {60}


class TestTheLearnedSchedule:
    def test_asks_when_it_is_worth_it(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 40)
        order = sent(stage, shop, final="never")
        assert 12 <= gap_of(order) <= 20
        assert stage.messages[-1][2] == pytest.approx(gap_of(order))
        first = gap_of(order)
        ask(stage, order)
        assert first + gap_of(order) <= 60

    def test_asks_at_every_time_of_the_fixed_schedule(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 40)
        order = sent(stage, shop, final="never")
        began = clock.now()
        asked: list[float] = []
        while not asked or asked[-1] < 990:
            ask(stage, order)
            asked.append(round((clock.now() - began).total_seconds(), 3))
        assert {60, 90, 150, 270, 510, 990} < set(asked)

    def test_is_the_fixed_one_while_fewer_than_twenty_have_ended(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 19)
        order = sent(stage, shop, final="never")
        gaps = [gap_of(order)]
        for _ in range(4):
            ask(stage, order)
            gaps.append(gap_of(order))
        assert gaps == [60, 30, 60, 120, 240]

    def test_is_not_used_unless_it_is_chosen(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        teach(shop, 40)
        assert gap_of(sent(stage, shop)) == 60

    def test_goes_on_as_the_fixed_one_when_it_is_switched_off(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 40)
        order = sent(stage, shop, final="never")
        while DueCheck.objects.get(order=order).tries < 2:
            ask(stage, order)
        Integration.objects.filter(pk=shop.integration.pk).update(
            options=shop.integration.options | {"polling": "spec"}
        )
        ask(stage, order)
        assert gap_of(order) == 120

    def test_of_a_new_product_is_that_of_its_integration_and_then_of_all(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 40, product_id=10**6)
        lesson = learning.load_lesson(shop.integration, shop.package.product_id)
        assert lesson.key == learning.Key(shop.integration.pk, 0)
        other = make_integration(shop.tenant, stage.url, **LEARNED)
        assert learning.load_lesson(other, shop.package.product_id).key == learning.Key(0, 0)

    def test_leaves_an_order_in_doubt_to_the_fixed_one(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 40)
        order = stage.order(shop, place="accept_then_500", final="never")
        services.try_auto_dispatch(order.pk)
        ask(stage, order)
        assert standing_of(order)[1] == "processing"
        assert gap_of(order) == 30


class TestThePrice:
    def rows_due(self, shop: Shop, order: Order, count: int) -> None:
        """So many more rows in the lane that are due now."""
        attempt = Attempt.objects.get(order=order)
        for n in range(count):
            copy = Attempt.objects.get(pk=attempt.pk)
            copy.pk, copy.reference = None, f"{attempt.reference}-{n}"
            copy.save(force_insert=True)
            DueCheck.objects.create(
                order=order, attempt=copy, lane=shop.integration.pk, kind="check", next_at=clock.now()
            )

    def test_rises_while_more_is_due_than_the_account_may_ask(self, stage: Stage) -> None:
        shop = make_shop(stage.url, rate_per_s=1, **LEARNED)
        teach(shop, 40)
        order = sent(stage, shop, final="never")
        self.rows_due(shop, order, 160)
        learning.reprice(shop.integration, clock.now())
        row = PollStatistic.objects.get(integration_id=shop.integration.pk, product_id=0)
        assert row.pressure == 4
        assert row.priced_at == clock.now()
        policy = learning.load_lesson(shop.integration, shop.package.product_id).policy
        assert policy is not None
        assert policy.price_s == 60

    def test_falls_again_and_is_measured_every_ten_seconds(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 40)
        rows = PollStatistic.objects.filter(integration_id=shop.integration.pk, product_id=0)
        rows.update(pressure=8, priced_at=clock.now())
        learning.reprice(shop.integration, clock.now() + timedelta(seconds=9.9))
        assert rows.get().pressure == 8
        learning.reprice(shop.integration, clock.now() + timedelta(seconds=10))
        assert rows.get().pressure == 2

    def test_is_measured_by_the_sweep(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 40)
        sent(stage, shop, final="never")
        stage.move(60)
        monitoring.sweep()
        row = PollStatistic.objects.get(integration_id=shop.integration.pk, product_id=0)
        assert row.priced_at == clock.now()


class TestWhatIsTold:
    def page(self, shop: Shop, order: Order, language: str = "en") -> str:
        """The order's page as its owner reads it."""
        browser = browser_of(make_person(f"olga-{language}", shop.tenant), language)
        return unescape(browser.get(f"/orders/{order.pk}/").content.decode())

    def test_says_why_the_next_question_comes_when_it_does(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 40)
        order = sent(stage, shop, final="never")
        gap = round(gap_of(order))
        text = self.page(shop, order)
        told = re.search(r"Typical for (.*?): (\d+) % done by (\d+) s; asked again (\d+) s after .*; (.*?)\.<", text)
        assert told is not None
        assert told[1] == f"{shop.integration.name} / {shop.package.product.name}"
        assert 80 <= int(told[2]) < 100
        assert told[3] == told[4] == str(gap)
        assert "price 15 s" in told[0]
        assert told[5] == "the schedule alone would wait 60 s"

    @pytest.mark.parametrize(
        ("language", "words"), [("ar", "أما الجدول وحده فكان سينتظر 60 ث"), ("tr", "çizelge olsaydı 60 sn beklenirdi")]
    )
    def test_is_said_in_the_languages_of_the_panel(self, stage: Stage, language: str, words: str) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 40)
        assert words in self.page(shop, sent(stage, shop, final="never"), language)

    def test_says_that_too_little_is_known(self, stage: Stage) -> None:
        shop = make_shop(stage.url, **LEARNED)
        teach(shop, 7)
        text = self.page(shop, sent(stage, shop, final="never"))
        assert "By the fixed schedule: 7 of the 20 completions that teach have been seen." in text

    def test_says_nothing_more_of_the_fixed_schedule(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        teach(shop, 40)
        text = self.page(shop, sent(stage, shop, final="never"))
        assert "Typical for" not in text
        assert "By the fixed schedule" not in text


class TestTheCommand:
    def test_tells_what_asking_costs_at_each_integration(self, stage: Stage) -> None:
        shop = make_shop(stage.url, price_s=1.5, **LEARNED)
        teach(shop, 25)
        out = io.StringIO()
        call_command("polling", as_json=True, stdout=out)
        assert [json.loads(line) for line in out.getvalue().splitlines()] == [
            {
                "integration": shop.integration.name,
                "policy": "learned",
                "completions": 25,
                "price_s": 1.5,
                "asked": 2.0,
                "paid_s": 3.0,
                "lag_s": 2.0,
                "balanced": True,
            }
        ]
        out = io.StringIO()
        call_command("polling", stdout=out)
        assert "2.0 questions x 1.5 s = 3 s against 2 s of lag: balanced" in out.getvalue()

    def test_says_that_a_price_is_out_of_balance(self, stage: Stage) -> None:
        teach(make_shop(stage.url), 25)
        out = io.StringIO()
        call_command("polling", stdout=out)
        assert "(spec): 25 completions; lately 2.0 questions x 15 s = 30 s against 2 s of lag: out of" in out.getvalue()

    def test_says_that_nothing_is_known(self, stage: Stage) -> None:
        out = io.StringIO()
        call_command("polling", stdout=out)
        assert out.getvalue() == "Nothing learned yet: no order that was asked about has ended.\n"
