"""People of two shops with browsers that are signed in, for the tests of the pages."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import translation

from apps.accounts.models import Membership, Tenant, User
from tests.factories import Shop, Stage, make_shop

PASSWORD = "long-enough-for-a-test"
LANGUAGES = ("en", "ar", "tr")


def make_person(name: str, tenant: Tenant | None = None, role: str = "owner", *, is_staff: bool = True) -> User:
    """Somebody who can sign in, and what they may do in one shop."""
    person = User.objects.create_user(name, password=PASSWORD, is_staff=is_staff)
    if tenant is not None:
        Membership.objects.create(user=person, tenant=tenant, role=role)
    return person


def browser_of(person: User | None, language: str = "en") -> Client:
    """A browser in which this person is signed in."""
    browser = Client(headers={"accept-language": language})
    if person is not None:
        browser.force_login(person)
    return browser


def seen_on(answer: object) -> str:
    """The fingerprint of what a decision's page says that it will do; empty where it says nothing yet."""
    assert isinstance(answer, HttpResponse)
    found = re.search(r'name="seen" value="(\w+)"', answer.content.decode())
    return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class People:
    """Everybody who looks at one shop, and the owner of another."""

    shop: Shop
    foreign_shop: Shop
    owner: Client
    operator: Client
    viewer: Client
    stranger: Client
    root: Client
    nobody: Client


@pytest.fixture
def people(stage: Stage) -> People:
    """Two shops at the simulated panel, with their people."""
    shop, foreign_shop = make_shop(stage.url), make_shop(stage.url)
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


@pytest.fixture(autouse=True)
def english() -> None:
    """A request leaves its language behind in the thread; every test begins in English."""
    translation.activate("en")
