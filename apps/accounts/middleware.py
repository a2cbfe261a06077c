"""What every request of a person passes: its author for the records, its browser, and a second factor that is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from apps.accounts import second_factor, sign_ins
from apps.accounts.models import User
from apps.common import clock
from apps.common.addresses import address_of
from apps.journal.audit import Author, acting_as

GUARDED = ("admin", "panel")
"""The pages for people; the doors for machines know keys and no sessions."""

OPEN_WITHOUT = {"login", "logout", "second_factor", "second_factor_set_up"}
"""The panel's pages that somebody sees who still owes a second factor."""


class PeopleMiddleware:
    """After Django's own authentication."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Whatever is recorded meanwhile has this person's name."""
        author = Author(lambda: str(request.user.get_username()), address_of(request))
        with acting_as(author):
            return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Note that the person is here; ask for a second factor first where it is on or demanded."""
        match = request.resolver_match
        if match is None or match.app_name not in GUARDED or not isinstance(request.user, User):
            return None
        sign_ins.note_seen(request, request.user, clock.now())
        if request.session.get(second_factor.VERIFIED) or (
            match.app_name == "panel" and match.url_name in OPEN_WITHOUT
        ):
            return None
        is_on, is_required = second_factor.standing_of(request.user)
        if is_on:  # signed in before it was on, or by a way that does not ask for it
            logout(request)
            return redirect("panel:login")
        return redirect("panel:second_factor_set_up") if is_required else None
