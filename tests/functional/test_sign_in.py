"""Signing in: counted tries, a second factor, sessions, new passwords and invitations; nobody learns who exists."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from html import unescape
from typing import Any

import pyotp
import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation

from apps.accounts import invitations, mails, second_factor, tries
from apps.accounts.models import Membership, User
from apps.accounts.security_models import Invitation, RecoveryCode, SecondFactor, SignIn, SignInBudget
from apps.common import clock
from apps.common.crypto import open_text
from apps.journal.models import AuditEntry
from tests.factories import Stage
from tests.functional.at_once import run_at_once
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import PASSWORD, People, browser_of, english, make_person, people

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

LOGIN = "/login/"


def sign_in(browser: Client, name: str = "olga", password: str = PASSWORD, **more: str) -> Any:
    return browser.post(LOGIN, {"username": name, "password": password, **more})


def is_in(browser: Client) -> bool:
    """Whether the list of orders is shown to this browser."""
    return browser.get(reverse("panel:orders")).status_code == 200


def person(name: str) -> User:
    return User.objects.get(username=name)


def code_of(user: User) -> str:
    """What the person's app shows now."""
    secret = open_text(SecondFactor.objects.get(user=user).sealed_secret)
    return pyotp.TOTP(secret).at(clock.now())


def switch_on(name: str, stage: Stage) -> list[str]:
    """The person has a second factor; its recovery codes. Half a minute later, so that the next code is another one."""
    user = person(name)
    second_factor.begin(user, clock.now())
    codes = second_factor.turn_on(user, code_of(user), clock.now())
    stage.move(60)
    return codes


def told() -> list[tuple[str, str]]:
    return list(AuditEntry.objects.order_by("id").values_list("action", "actor"))


class TestTries:
    def test_are_counted_for_each_name_whether_or_not_it_exists(self, people: People) -> None:
        answers = {}
        for name in ("olga", "nobody-here"):
            browser = browser_of(None)
            answers[name] = [sign_in(browser, name, "wrong") for _ in range(tries.ACCOUNT.burst + 1)]
        pages = {
            name: [(one.status_code, re.sub(r'value="[^"]*"', "", one.content.decode())) for one in found]
            for name, found in answers.items()
        }
        assert pages["olga"] == pages["nobody-here"]
        assert SignInBudget.objects.count() == 3

    def test_used_up_refuse_the_right_password_too_until_time_has_passed(self, people: People, stage: Stage) -> None:
        browser = browser_of(None)
        for _ in range(tries.ACCOUNT.burst):
            sign_in(browser, password="wrong")
        assert sign_in(browser).status_code == 422
        assert not is_in(browser)
        stage.move(tries.ACCOUNT.every_s)
        assert sign_in(browser).status_code == 302
        assert is_in(browser)

    def test_are_there_again_after_the_right_password(self, people: People) -> None:
        browser = browser_of(None)
        for _ in range(3):
            for _ in range(tries.ACCOUNT.burst - 1):
                sign_in(browser, password="wrong")
            assert sign_in(Client()).status_code == 302

    def test_are_counted_for_each_address(self, people: People) -> None:
        for n in range(tries.ADDRESS.burst):
            sign_in(Client(REMOTE_ADDR="192.0.2.7"), f"name-{n}", "wrong")
        assert sign_in(Client(REMOTE_ADDR="192.0.2.7")).status_code == 422
        assert sign_in(Client(REMOTE_ADDR="192.0.2.8")).status_code == 302

    def test_at_once_are_no_more_than_fit(self, people: People, stage: Stage) -> None:
        now = clock.now()
        won = run_at_once([lambda: tries.take(tries.ACCOUNT, "olga", now)] * (tries.ACCOUNT.burst + 6))
        assert won.count(True) == tries.ACCOUNT.burst

    def test_are_given_back_by_the_command(self, people: People) -> None:
        browser = browser_of(None)
        for _ in range(tries.ACCOUNT.burst):
            sign_in(browser, password="wrong")
        call_command("unlock", "olga")
        assert sign_in(browser).status_code == 302
        assert ("unlocked", "") in told()
        with pytest.raises(CommandError, match="nobody named 'nemo'"):
            call_command("unlock", "nemo")

    def test_count_for_the_password_of_a_single_person_too(self, people: People) -> None:
        for _ in range(tries.ACCOUNT.burst):
            people.owner.post(reverse("panel:mail"), {"email": "a@example.com", "password": "wrong"})
        answer = people.owner.post(reverse("panel:mail"), {"email": "a@example.com", "password": PASSWORD})
        assert answer.status_code == 422
        assert person("olga").email == ""

    def test_that_fail_are_told_of_known_people_without_what_was_typed(self, people: People) -> None:
        sign_in(browser_of(None), password="wrong-one")
        sign_in(browser_of(None), "nemo", "wrong-one")
        entries = AuditEntry.objects.filter(action="sign_in_failed")
        assert [entry.subject for entry in entries] == ["olga"]
        assert "wrong-one" not in str(list(AuditEntry.objects.values()))


class TestTheSetUp:
    def test_has_no_way_in_of_its_own(self, people: People) -> None:
        browser = browser_of(None)
        answer = browser.get("/admin/", follow=True)
        assert answer.redirect_chain[-1][0] == "/login/?next=%2Fadmin%2F"
        assert browser.post("/admin/login/", {"username": "olga", "password": PASSWORD}).status_code == 302
        assert not is_in(browser)

    def test_is_refused_to_who_is_no_staff_without_going_round(self, people: People) -> None:
        make_person("uli", people.shop.tenant, "viewer", is_staff=False)
        answer = browser_of(person("uli")).get("/admin/", follow=True)
        assert answer.status_code == 403

    def test_asks_for_the_second_factor_too(self, people: People, stage: Stage) -> None:
        switch_on("olga", stage)
        browser = browser_of(None)
        answer = sign_in(browser, next="/admin/")
        assert answer["Location"] == reverse("panel:second_factor")
        assert browser.get("/admin/").status_code == 302
        answer = browser.post(answer["Location"], {"code": code_of(person("olga"))})
        assert answer["Location"] == "/admin/"
        assert browser.get("/admin/").status_code == 200


class TestTheSecondFactor:
    def test_is_set_up_with_the_first_code_of_the_app(self, people: People) -> None:
        page = people.owner.get(reverse("panel:second_factor_set_up")).content.decode()
        assert "<svg" in page
        typed = {"code": code_of(person("olga")), "password": PASSWORD}
        answer = people.owner.post(reverse("panel:second_factor_set_up"), typed)
        codes = re.findall(r"[0-9a-f]{5}(?:-[0-9a-f]{5}){3}", answer.content.decode())
        assert len(codes) == second_factor.RECOVERY_CODES
        assert RecoveryCode.objects.filter(user=person("olga")).count() == len(codes)
        assert is_in(people.owner)
        assert ("factor_on", "olga") in told()

    def test_is_not_set_up_without_the_password_or_with_a_wrong_code(self, people: People) -> None:
        people.owner.get(reverse("panel:second_factor_set_up"))
        for typed in (
            {"code": code_of(person("olga")), "password": "wrong"},
            {"code": "000000", "password": PASSWORD},
        ):
            assert people.owner.post(reverse("panel:second_factor_set_up"), typed).status_code == 422
        assert not second_factor.is_on(person("olga"))

    def test_is_asked_for_before_anybody_is_signed_in(self, people: People, stage: Stage) -> None:
        switch_on("olga", stage)
        browser = browser_of(None)
        assert sign_in(browser)["Location"] == reverse("panel:second_factor")
        assert not is_in(browser)
        assert browser.post(reverse("panel:second_factor"), {"code": "123456"}).status_code == 422
        assert not is_in(browser)
        assert browser.post(reverse("panel:second_factor"), {"code": code_of(person("olga"))}).status_code == 302
        assert is_in(browser)

    def test_takes_each_code_once(self, people: People, stage: Stage) -> None:
        switch_on("olga", stage)
        code = code_of(person("olga"))
        first, second = browser_of(None), browser_of(None)
        for browser in (first, second):
            sign_in(browser)
        assert first.post(reverse("panel:second_factor"), {"code": code}).status_code == 302
        assert second.post(reverse("panel:second_factor"), {"code": code}).status_code == 422

    def test_takes_a_code_once_of_two_at_the_same_moment(self, people: People, stage: Stage) -> None:
        switch_on("olga", stage)
        user, code, now = person("olga"), code_of(person("olga")), clock.now()

        def give() -> bool:
            try:
                second_factor.accept(user, code, now)
            except second_factor.WrongCode:
                return False
            return True

        assert sorted(run_at_once([give, give])) == [False, True]

    def test_takes_a_recovery_code_once_in_any_spelling(self, people: People, stage: Stage) -> None:
        code = switch_on("olga", stage)[0]
        for typed, status in ((code.upper(), 302), (code.replace("-", ""), 422)):
            browser = browser_of(None)
            sign_in(browser)
            assert browser.post(reverse("panel:second_factor"), {"code": typed}).status_code == status
        assert second_factor.codes_left(person("olga")) == second_factor.RECOVERY_CODES - 1
        assert ("recovery_used", "olga") in told()

    def test_is_guessed_a_few_times_only(self, people: People, stage: Stage) -> None:
        switch_on("olga", stage)
        browser = browser_of(None)
        sign_in(browser)
        for _ in range(tries.SECOND.burst):
            browser.post(reverse("panel:second_factor"), {"code": "000000"})
        answer = browser.post(reverse("panel:second_factor"), {"code": code_of(person("olga"))})
        assert "Too many codes were tried." in answer.content.decode()

    def test_is_given_within_minutes_of_the_password(self, people: People, stage: Stage) -> None:
        switch_on("olga", stage)
        browser = browser_of(None)
        sign_in(browser)
        stage.move(601)
        answer = browser.post(reverse("panel:second_factor"), {"code": code_of(person("olga"))})
        assert answer["Location"] == LOGIN

    def test_ends_sessions_that_never_gave_it(self, people: People, stage: Stage) -> None:
        assert is_in(people.owner)
        switch_on("olga", stage)
        assert not is_in(people.owner)

    @pytest.mark.parametrize(("name", "is_asked"), [("olga", True), ("omar", True), ("vera", False)])
    def test_is_demanded_of_owners_and_operators_by_their_shop(self, people: People, name: str, is_asked: bool) -> None:
        people.shop.tenant.requires_second_factor = True
        people.shop.tenant.save()
        signed_in_before, browser = browser_of(person(name)), browser_of(None)
        sign_in(browser, name)
        for one in (signed_in_before, browser):
            assert is_in(one) is not is_asked
        if is_asked:
            assert signed_in_before.get("/admin/")["Location"] == reverse("panel:second_factor_set_up")
            browser.get(reverse("panel:second_factor_set_up"))
            browser.post(reverse("panel:second_factor_set_up"), {"code": code_of(person(name))})
            assert is_in(browser)

    def test_is_not_demanded_by_another_shop(self, people: People) -> None:
        people.foreign_shop.tenant.requires_second_factor = True
        people.foreign_shop.tenant.save()
        assert is_in(people.owner)
        assert not is_in(people.stranger)
        assert not is_in(people.root)

    def test_is_switched_off_with_the_password_unless_it_is_demanded(self, people: People, stage: Stage) -> None:
        switch_on("olga", stage)
        browser = browser_of(None)
        sign_in(browser)
        browser.post(reverse("panel:second_factor"), {"code": code_of(person("olga"))})
        off = reverse("panel:second_factor_off")
        assert browser.post(off, {"password": "wrong"}).status_code == 422
        people.shop.tenant.requires_second_factor = True
        people.shop.tenant.save()
        assert browser.post(off, {"password": PASSWORD}).status_code == 404
        assert second_factor.is_on(person("olga"))
        people.shop.tenant.requires_second_factor = False
        people.shop.tenant.save()
        assert browser.post(off, {"password": PASSWORD}).status_code == 302
        assert not second_factor.is_on(person("olga"))

    def test_is_stored_encrypted_and_its_recovery_codes_as_hashes(self, people: People, stage: Stage) -> None:
        codes = switch_on("olga", stage)
        factor = SecondFactor.objects.get(user__username="olga")
        assert factor.sealed_secret.startswith("k1$")
        stored = str(list(RecoveryCode.objects.values()))
        assert not any(code.replace("-", "") in stored for code in codes)

    def test_of_a_lost_telephone_is_taken_away_by_the_command(self, people: People, stage: Stage) -> None:
        switch_on("olga", stage)
        call_command("unlock", "olga", "--second-factor")
        browser = browser_of(None)
        assert sign_in(browser).status_code == 302
        assert is_in(browser)


class TestTheBrowsers:
    def test_are_listed_and_signed_out_one_by_one(self, people: People) -> None:
        there, here = browser_of(None), browser_of(None)
        for browser, agent in ((there, "Telephone"), (here, "Desk")):
            browser.defaults["HTTP_USER_AGENT"] = agent
            sign_in(browser)
        page = here.get(reverse("panel:account")).content.decode()
        assert "Telephone" in page
        assert "Desk" in page
        row = SignIn.objects.get(agent="Telephone")
        assert people.operator.post(reverse("panel:session_end", args=[row.pk])).status_code == 404
        assert is_in(there)
        assert here.post(reverse("panel:session_end", args=[row.pk])).status_code == 302
        assert not is_in(there)
        assert is_in(here)

    def test_are_signed_out_everywhere_else(self, people: People) -> None:
        others, here = [browser_of(None), browser_of(None)], browser_of(None)
        for browser in (*others, here):
            sign_in(browser)
        here.post(reverse("panel:sessions_end"))
        assert [is_in(browser) for browser in (*others, here)] == [False, False, True]

    def test_are_forgotten_when_they_sign_out(self, people: People) -> None:
        browser = browser_of(None)
        sign_in(browser)
        before = SignIn.objects.filter(user__username="olga").count()
        browser.post(reverse("panel:logout"))
        assert SignIn.objects.filter(user__username="olga").count() == before - 1


class TestAPassword:
    def test_is_changed_with_the_old_one_and_ends_other_browsers(self, people: People) -> None:
        there, here = browser_of(None), browser_of(None)
        for browser in (there, here):
            sign_in(browser)
        new = "an-entirely-other-phrase"
        typed = {"password": PASSWORD, "password1": new, "password2": new}
        assert here.post(reverse("panel:password"), {**typed, "password": "wrong"}).status_code == 422
        assert here.post(reverse("panel:password"), typed).status_code == 302
        assert (is_in(here), is_in(there)) == (True, False)
        assert "this one" in here.get(reverse("panel:account")).content.decode()
        assert sign_in(browser_of(None), password=new).status_code == 302

    @pytest.mark.parametrize("bad", ["short", "password123", "1234567890123"])
    def test_follows_the_rules(self, people: People, bad: str) -> None:
        typed = {"password": PASSWORD, "password1": bad, "password2": bad}
        assert people.owner.post(reverse("panel:password"), typed).status_code == 422

    def test_forgotten_is_chosen_anew_by_a_link_that_is_good_once(self, people: People, stage: Stage) -> None:
        User.objects.filter(username="olga").update(email="olga@example.com")
        for _ in range(tries.ACCOUNT.burst):
            sign_in(browser_of(None), password="wrong")
        assert mails.send_reset("OLGA@example.com", "http://hub.test", "en") == 1
        link = re.search(r"http://hub\.test(/login/new/\S+)", str(mail.outbox[-1].body))
        assert link
        browser = browser_of(None)
        form = browser.get(link[1], follow=True)
        new = "an-entirely-other-phrase"
        answer = browser.post(form.redirect_chain[-1][0], {"new_password1": new, "new_password2": new})
        assert answer["Location"] == "/"
        assert is_in(browser)
        assert sign_in(browser_of(None), password=new).status_code == 302
        assert "used before or is too old" in browser_of(None).get(link[1], follow=True).content.decode()
        assert ("password_reset", "olga") in told()

    def test_forgotten_does_not_lift_the_second_factor(self, people: People, stage: Stage) -> None:
        switch_on("olga", stage)
        User.objects.filter(username="olga").update(email="olga@example.com")
        mails.send_reset("olga@example.com", "http://hub.test", "en")
        link = re.search(r"http://hub\.test(/login/new/\S+)", str(mail.outbox[-1].body))
        assert link
        browser = browser_of(None)
        form = browser.get(link[1], follow=True)
        new = "an-entirely-other-phrase"
        answer = browser.post(form.redirect_chain[-1][0], {"new_password1": new, "new_password2": new})
        assert answer["Location"] == reverse("panel:second_factor")
        assert not is_in(browser)

    def test_forgotten_is_answered_alike_for_everybody_and_mailed_by_a_worker(self, people: People) -> None:
        User.objects.filter(username="olga").update(email="olga@example.com")
        pages = set()
        for email in ("olga@example.com", "nobody@example.com"):
            answer = browser_of(None).post(reverse("panel:password_forgotten"), {"email": email})
            pages.add(re.sub(r'value="[^"]*"', "", answer.content.decode()))
        assert len(pages) == 1
        assert mail.outbox == []
        assert mails.send_reset("nobody@example.com", "http://hub.test", "en") == 0


class TestAnInvitation:
    def invite(self, people: People, role: str = "operator", email: str = "") -> str:
        typed = {"tenant": people.shop.tenant.pk, "role": role, "email": email}
        answer = people.owner.post(reverse("panel:members"), typed)
        found = re.search(r"http://testserver(/invitations/[\w-]+/)", answer.content.decode())
        assert found
        return found[1]

    def test_makes_somebody_new_a_member_once(self, people: People) -> None:
        path = self.invite(people)
        new = {"username": "nina", "password1": "an-entirely-other-phrase", "password2": "an-entirely-other-phrase"}
        browser = browser_of(None)
        assert browser.post(path, new).status_code == 302
        assert is_in(browser)
        member = Membership.objects.get(user__username="nina")
        assert (member.tenant_id, member.role) == (people.shop.tenant.pk, "operator")
        assert not member.user.is_staff
        assert browser_of(None).get(path).status_code == 404
        assert browser_of(None).post(path, {**new, "username": "nora"}).status_code == 404
        assert not User.objects.filter(username="nora").exists()
        assert ("joined", "nina") in told()

    def test_makes_one_member_of_two_who_click_at_once(self, people: People) -> None:
        token = self.invite(people).split("/")[2]
        users = [make_person(name) for name in ("one", "two")]
        now = clock.now()

        def join(user: User) -> bool:
            try:
                invitations.accept(token, user, now)
            except invitations.InvitationRefused:
                return False
            return True

        assert sorted(run_at_once([partial(join, user) for user in users])) == [False, True]

    def test_is_accepted_by_who_is_signed_in_already(self, people: People) -> None:
        path = self.invite(people, "viewer")
        assert people.stranger.post(path).status_code == 302
        member = Membership.objects.get(user__username="sam", tenant=people.shop.tenant)
        assert member.role == "viewer"

    def test_is_over_after_three_days_and_when_it_was_withdrawn(self, people: People, stage: Stage) -> None:
        old, withdrawn = self.invite(people), self.invite(people)
        row = Invitation.objects.latest("id")
        assert people.stranger.post(reverse("panel:withdraw", args=[row.pk])).status_code == 404
        assert people.owner.post(reverse("panel:withdraw", args=[row.pk])).status_code == 302
        assert browser_of(None).get(withdrawn).status_code == 404
        assert browser_of(None).get(old).status_code == 200
        stage.move(timedelta(days=3).total_seconds())
        assert browser_of(None).get(old).status_code == 404

    def test_is_over_when_who_invited_is_no_owner_any_more(self, people: People) -> None:
        path = self.invite(people)
        Membership.objects.filter(user__username="olga").update(role="viewer")
        assert browser_of(None).get(path).status_code == 404

    def test_never_makes_an_owner(self, people: People) -> None:
        typed = {"tenant": people.shop.tenant.pk, "role": "owner"}
        assert people.owner.post(reverse("panel:members"), typed).status_code == 422
        with pytest.raises(invitations.InvitationRefused):
            invitations.invite(person("olga"), people.shop.tenant, "owner", "", clock.now())

    def test_is_for_the_own_shop_alone(self, people: People) -> None:
        typed = {"tenant": people.foreign_shop.tenant.pk, "role": "viewer"}
        assert people.owner.post(reverse("panel:members"), typed).status_code == 422
        with pytest.raises(invitations.InvitationRefused):
            invitations.invite(person("olga"), people.foreign_shop.tenant, "viewer", "", clock.now())
        assert not Invitation.objects.exists()

    def test_token_is_stored_as_a_hash_and_told_nowhere(self, people: People) -> None:
        token = self.invite(people, email="new@example.com").split("/")[2]
        assert token not in str(list(Invitation.objects.values()))
        assert token not in str(list(AuditEntry.objects.values()))

    def test_is_mailed_in_the_language_of_who_invites(self, people: People) -> None:
        mails.send_invitation("new@example.com", people.shop.tenant.name, "http://hub.test/x", "tr")
        with translation.override("tr"):
            wanted = translation.gettext("An invitation to %(shop)s") % {"shop": people.shop.tenant.name}
        assert mail.outbox[-1].subject == wanted
        assert "http://hub.test/x" in mail.outbox[-1].body


class TestWhoMaySee:
    @pytest.mark.parametrize(
        ("page", "who"),
        [("members", ("owner", "stranger", "root")), ("audit", ("owner", "stranger", "root"))],
    )
    def test_pages_for_owners(self, people: People, page: str, who: tuple[str, ...]) -> None:
        for name in ("owner", "operator", "viewer", "stranger", "root", "nobody"):
            status = 200 if name in who else 302 if name == "nobody" else 403
            assert getattr(people, name).get(reverse(f"panel:{page}")).status_code == status

    def test_a_stranger_sees_no_member_of_this_shop(self, people: People) -> None:
        page = unescape(people.stranger.get(reverse("panel:members")).content.decode())
        assert "omar" not in page
        assert "sam" in page
