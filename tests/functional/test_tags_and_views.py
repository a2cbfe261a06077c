"""Tags on orders, and views of the list that a person keeps."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.accounts.view_models import SavedView
from apps.common import clock
from apps.orders import decisions
from apps.orders.decisions import tags
from apps.orders.models import Order, OrderEvent
from apps.orders.tag_models import OrderTag
from apps.panel import saved_views
from tests.factories import make_shop, order_from, standing_of, story_of
from tests.functional.panel_fixtures import LANGUAGES, PASSWORD, People, browser_of, english, make_person

__all__ = ["english"]

pytestmark = [pytest.mark.django_db, pytest.mark.page]


@pytest.fixture
def people() -> People:
    """Two shops that send nothing, with their people."""
    shop, foreign_shop = make_shop(), make_shop()
    return People(
        shop=shop,
        foreign_shop=foreign_shop,
        owner=browser_of(make_person("olga", shop.tenant, "owner")),
        operator=browser_of(make_person("omar", shop.tenant, "operator")),
        viewer=browser_of(make_person("vera", shop.tenant, "viewer")),
        stranger=browser_of(make_person("sam", foreign_shop.tenant, "owner")),
        root=browser_of(User.objects.create_superuser("root", password=PASSWORD)),
        nobody=browser_of(None),
    )


def tag(browser: Client, order: Order, **typed: str) -> int:
    """Press a button of the order's tags."""
    return browser.post(reverse("panel:tag", args=[order.pk]), typed).status_code


def names(order: Order) -> list[str]:
    return list(OrderTag.objects.filter(order=order).order_by("pk").values_list("name", flat=True))


def text_of(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


class TestATag:
    def test_is_put_on_with_its_author_and_told_in_the_story(self, people: People) -> None:
        order = order_from(people.shop)
        before = standing_of(order)
        assert tag(people.operator, order, add="  call   back ") == 302
        found = OrderTag.objects.get()
        assert (found.order_id, found.name, found.actor) == (order.pk, "call back", "omar")
        told = OrderEvent.objects.filter(order=order).latest("id")
        assert (told.kind, told.actor, told.data) == ("tagged", "omar", {"why": "call back"})
        assert standing_of(order) == before
        assert "call back" in text_of(people.viewer, reverse("panel:order", args=[order.pk]))

    def test_is_put_on_once_and_taken_off_once(self, people: People) -> None:
        order = order_from(people.shop)
        for _ in range(2):
            tag(people.operator, order, add="vip")
        assert names(order) == ["vip"]
        for _ in range(2):
            tag(people.owner, order, remove="vip")
        assert names(order) == []
        assert story_of(order) == ["created", "tagged", "untagged"]

    @pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a\x07b"])
    def test_that_is_no_tag_is_refused(self, people: People, name: str) -> None:
        order = order_from(people.shop)
        with pytest.raises(decisions.BadInput):
            tags.add_tag(order.pk, User.objects.get(username="omar"), name, clock.now())
        tag(people.operator, order, add=name)
        assert (names(order), story_of(order)) == ([], ["created"])

    def test_has_room_beside_nine_others(self, people: People) -> None:
        order = order_from(people.shop)
        for n in range(11):
            tag(people.operator, order, add=f"t{n}")
        assert names(order) == [f"t{n}" for n in range(10)]

    def test_is_for_who_may_operate_the_shop(self, people: People) -> None:
        order = order_from(people.shop)
        codes = {
            name: tag(getattr(people, name), order, add=name)
            for name in ("nobody", "stranger", "viewer", "operator", "owner", "root")
        }
        assert codes == {"nobody": 302, "stranger": 404, "viewer": 403, "operator": 302, "owner": 302, "root": 302}
        assert names(order) == ["operator", "owner", "root"]
        assert 'name="add"' not in text_of(people.viewer, reverse("panel:order", args=[order.pk]))
        for who, refused in (("vera", decisions.NotAllowed), ("sam", decisions.NotFound)):
            with pytest.raises(refused):
                tags.add_tag(order.pk, User.objects.get(username=who), "x", clock.now())
            with pytest.raises(refused):
                tags.remove_tag(order.pk, User.objects.get(username=who), "operator", clock.now())

    def test_narrows_the_list_of_the_own_shop(self, people: People) -> None:
        order, other, foreign = order_from(people.shop), order_from(people.shop), order_from(people.foreign_shop)
        tag(people.operator, order, add="vip")
        tag(people.stranger, foreign, add="vip")
        tag(people.stranger, foreign, add="theirs")
        text = text_of(people.operator, "/?tag=vip")
        assert f"/orders/{order.pk}/" in text
        assert f'href="/orders/{other.pk}/?' not in text
        assert f"/orders/{foreign.pk}/" not in text
        assert "theirs" not in text


class TestAView:
    def save(self, browser: Client, name: str, query: str) -> int:
        return browser.post(reverse("panel:view_save"), {"name": name, "query": query}).status_code

    def test_is_kept_by_a_name_and_led_to_by_its_address(self, people: People) -> None:
        order_from(people.shop, "find-me")
        assert self.save(people.viewer, "mine", "q=find-me&before=9&nonsense=1") == 302
        found = SavedView.objects.get()
        assert (found.user.username, found.name, found.query) == ("vera", "mine", "q=find-me")
        assert 'href="/?q=find-me" aria-current="page"' in text_of(people.viewer, "/?q=find-me")

    def test_of_the_same_name_is_replaced(self, people: People) -> None:
        self.save(people.owner, "mine", "status=open")
        self.save(people.owner, "mine", "status=review")
        self.save(people.operator, "mine", "status=pending")
        assert sorted(SavedView.objects.values_list("user__username", "query")) == [
            ("olga", "status=review"),
            ("omar", "status=pending"),
        ]

    @pytest.mark.parametrize(("name", "query"), [("", "status=open"), ("x" * 61, "status=open"), ("all", "nonsense=1")])
    def test_without_a_name_or_a_filter_is_none(self, people: People, name: str, query: str) -> None:
        assert self.save(people.owner, name, query) == 302
        assert not SavedView.objects.exists()

    def test_has_room_beside_the_others(self, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(saved_views, "MOST", 1)
        for name in ("first", "second"):
            self.save(people.owner, name, "status=open")
        self.save(people.owner, "first", "status=review")
        assert list(SavedView.objects.values_list("name", "query")) == [("first", "status=review")]

    def test_is_its_owners_alone(self, people: People) -> None:
        self.save(people.owner, "secret plan", "status=open")
        found = SavedView.objects.get()
        assert "secret plan" not in text_of(people.operator, "/")
        assert people.operator.post(reverse("panel:view_remove", args=[found.pk])).status_code == 404
        assert people.nobody.post(reverse("panel:view_remove", args=[found.pk])).status_code == 302
        assert SavedView.objects.exists()
        assert people.owner.post(reverse("panel:view_remove", args=[found.pk])).status_code == 302
        assert not SavedView.objects.exists()

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_shows_in_every_language(self, people: People, language: str) -> None:
        words = {"en": "Saved views", "ar": "العروض المحفوظة", "tr": "Kayıtlı görünümler"}
        person = User.objects.get(username="olga")
        assert words[language] in text_of(browser_of(person, language), "/?status=open")
