"""The decisions of people as forms: what each is called, asks for and would do, in words, and how it is made.

What is decided, by whom and with what effect is known by `apps.orders.decisions` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Membership, User
from apps.common import clock
from apps.orders import decisions, manual
from apps.orders.decisions import Alone, Decided, Entry, Then, Truth
from apps.orders.decisions.approvals import ACTS
from apps.orders.decisions.deciding import Act, Control, Wish, wish_of
from apps.orders.decisions.foresight import Change, Foreseen, foresee, rehearse
from apps.orders.decisions.possible import Possible, possible
from apps.orders.models import Approval, Attempt, AttemptUnit, Case, Order
from apps.orders.states import AttemptState, DueKind, ExternalStatus, OrderStatus
from apps.panel import words
from apps.panel.by_hand import DeliveryForm
from apps.panel.story import Posting, as_posting
from apps.providers.models import Route
from apps.webhooks.resending import resend_delivery

# --- what a form asks for

MORNING = time(9)
RESTS = (("hour", _("an hour")), ("morning", _("until tomorrow morning at 9")), ("", _("until the moment below")))
"""How long something may rest, in the words that one chooses from."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is decided: the decision's name and choice, and the order, attempt or case that it is about."""

    name: str
    order: Order
    choice: str = ""
    attempt: Attempt | None = None
    case: Case | None = None

    @property
    def key(self) -> str:
        """The line of the table that says what it is."""
        return f"{self.name}:{self.choice}" if self.choice else self.name


class ReasonForm(forms.Form):
    """Why it is decided. The story keeps it."""

    reason = forms.CharField(label=_("Reason"), max_length=200, widget=forms.TextInput(attrs={"dir": "auto"}))

    def __init__(self, *args: Any, subject: Subject, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subject = subject

    def ask_alone(self) -> None:
        """Ask the only person of a shop for the password and the amount as well."""
        add_alone(self)


class RouteForm(ReasonForm):
    """The route that buys it."""

    def __init__(self, *args: Any, subject: Subject, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        enabled = Route.objects.filter(package_id=subject.order.package_id, is_enabled=True, integration__isnull=False)
        named = enabled.order_by("position", "id").values_list("pk", "integration__name")
        self.fields["route"] = forms.TypedChoiceField(label=_("Route"), coerce=int, choices=list(named))


class PersonForm(ReasonForm):
    """Who works on it."""

    def __init__(self, *args: Any, subject: Subject, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        roles = (Membership.Role.OWNER, Membership.Role.OPERATOR)
        acting = Q(memberships__tenant_id=subject.order.tenant_id, memberships__role__in=roles)
        people = User.objects.filter(acting, is_active=True).distinct().order_by("username")
        self.fields["to"] = forms.ModelChoiceField(people, label=_("Who works on it"))


class SnoozeForm(ReasonForm):
    """Until when it rests: for an hour, until tomorrow morning in the shop's time zone, or until a moment."""

    rest = forms.ChoiceField(label=_("How long"), choices=RESTS, initial="hour", required=False)
    until = forms.DateTimeField(
        label=_("Rests until"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "dir": "ltr"}),
    )

    def clean(self) -> dict[str, Any]:
        """`until` is the moment that was chosen, however it was."""
        typed, now = self.cleaned_data, timezone.localtime(clock.now())
        morning = datetime.combine(now.date() + timedelta(days=1), MORNING, tzinfo=now.tzinfo)
        chosen = {"hour": now + timedelta(hours=1), "morning": morning}.get(typed.get("rest", ""), typed.get("until"))
        if chosen is None and "until" not in self.errors:
            self.add_error("until", _("Choose a time in the next 90 days."))
        return {**typed, "until": chosen}


class HandForm(DeliveryForm):
    """What was delivered by hand, and why."""

    is_known_fine = forms.BooleanField(label=_("A code that was delivered before is meant"), required=False)
    reason = forms.CharField(label=_("Reason"), max_length=200, widget=forms.TextInput(attrs={"dir": "auto"}))

    def __init__(self, *args: Any, subject: Subject, **kwargs: Any) -> None:
        attempt = subject.attempt or Attempt(order=subject.order)
        attempt.order = subject.order
        super().__init__(*args, task=manual.Task(attempt, units_of(subject), ""), **kwargs)
        self.subject = subject

    def entry(self) -> Entry:
        """What was typed, for the decision."""
        told = self.delivery()
        return Entry(told.codes, told.proof, told.cost_micros, is_known_fine=self.cleaned_data["is_known_fine"])

    def ask_alone(self) -> None:
        """Ask the only person of a shop for the password and the amount as well."""
        add_alone(self)


AnyForm = ReasonForm | HandForm


def add_alone(form: forms.Form) -> None:
    """The two fields by which the only person of a shop proves it."""
    form.fields["password"] = forms.CharField(
        label=_("Your password"), required=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    form.fields["amount"] = forms.CharField(
        label=_("The amount at stake"),
        required=False,
        widget=forms.TextInput(attrs={"dir": "ltr", "inputmode": "decimal", "autocomplete": "off"}),
    )


def units_of(subject: Subject) -> int:
    """How many units are delivered by hand: those of the attempt, or those that nobody holds."""
    if subject.attempt is not None:
        return AttemptUnit.objects.filter(attempt=subject.attempt).count()
    return subject.order.free_units().count()


# --- the table


@dataclass(frozen=True, slots=True)
class Call:
    """One decision as it is made."""

    subject: Subject
    actor: User
    now: datetime
    typed: Mapping[str, Any] = field(repr=False)
    entry: Entry | None = None
    alone: Alone | None = None

    def usual(self) -> tuple[int, User, str, datetime]:
        """What every decision wants to know."""
        return self.subject.order.pk, self.actor, self.typed.get("reason", ""), self.now

    @property
    def attempt_id(self) -> int | None:
        """The attempt that it is about."""
        return self.subject.attempt.pk if self.subject.attempt else None

    @property
    def case_id(self) -> int:
        """The case that it is about; 0 is none."""
        return self.subject.case.pk if self.subject.case else 0


@dataclass(frozen=True, slots=True)
class Kind:
    """How a decision is made; `act` where two people may be needed, `about` names what it must be about."""

    make: Callable[[Call], Decided | None]
    act: Act | None = None
    about: str = ""
    form: type[ReasonForm] = ReasonForm
    choices: tuple[str, ...] = ("",)
    takes_entry: bool = False
    is_plain: bool = False  # what it does is said in one sentence, and never differs


A = Approval.Action

KINDS: Mapping[str, Kind] = {
    "add_note": Kind(lambda c: decisions.add_note(*c.usual()), is_plain=True),
    "claim_review": Kind(lambda c: decisions.claim_review(*c.usual()), is_plain=True),
    "assign_review": Kind(
        lambda c: decisions.assign_review(*c.usual(), to=c.typed["to"]), form=PersonForm, is_plain=True
    ),
    "snooze_review": Kind(
        lambda c: decisions.snooze_review(*c.usual(), until=c.typed["until"]), form=SnoozeForm, is_plain=True
    ),
    "release": Kind(lambda c: decisions.release(*c.usual(), alone=c.alone), ACTS[A.RELEASE]),
    "deliver_by_hand": Kind(
        lambda c: decisions.deliver_by_hand(
            *c.usual(), entry=c.entry or Entry(), attempt_id=c.attempt_id, alone=c.alone
        ),
        ACTS[A.DELIVER],
        takes_entry=True,
    ),
    "send_elsewhere": Kind(lambda c: decisions.send_elsewhere(*c.usual(), route_id=c.typed["route"]), form=RouteForm),
    "stop_waiting": Kind(
        lambda c: decisions.stop_waiting(
            *c.usual(), attempt_id=c.attempt_id or 0, then=c.subject.choice, alone=c.alone
        ),
        ACTS[A.STOP_WAITING],
        "attempt",
        choices=tuple(Then),
    ),
    "resolve": Kind(
        lambda c: decisions.resolve(
            *c.usual(), attempt_id=c.attempt_id or 0, truth=c.subject.choice, entry=c.entry, alone=c.alone
        ),
        ACTS[A.RESOLVE],
        "attempt",
        choices=tuple(Truth),
        takes_entry=True,
    ),
    "give_back": Kind(lambda c: decisions.give_back(*c.usual(), alone=c.alone), ACTS[A.GIVE_BACK]),
    "accept_late": Kind(
        lambda c: decisions.accept_late(*c.usual(), case_id=c.case_id, alone=c.alone), ACTS[A.ACCEPT_LATE], "case"
    ),
    "reverse": Kind(lambda c: decisions.reverse(*c.usual(), case_id=c.case_id, alone=c.alone), ACTS[A.REVERSE], "case"),
    "release_codes": Kind(lambda c: decisions.release_codes(*c.usual(), case_id=c.case_id), about="case"),
    "claim_case": Kind(lambda c: decisions.claim_case(*c.usual(), case_id=c.case_id), about="case", is_plain=True),
    "assign_case": Kind(
        lambda c: decisions.assign_case(*c.usual(), case_id=c.case_id, to=c.typed["to"]),
        about="case",
        form=PersonForm,
        is_plain=True,
    ),
    "snooze_case": Kind(
        lambda c: decisions.snooze_case(*c.usual(), case_id=c.case_id, until=c.typed["until"]),
        about="case",
        form=SnoozeForm,
        is_plain=True,
    ),
    "close_case": Kind(lambda c: decisions.close_case(*c.usual(), case_id=c.case_id), about="case"),
    "tell_again": Kind(lambda c: resend_delivery(*c.usual()), is_plain=True),
}
"""Every decision that is made in a form. Asking again and looking at codes have buttons of their own."""

TITLES: words.Words = {
    "add_note": _("Write a note"),
    "claim_review": _("Work on this order"),
    "assign_review": _("Give the order to somebody"),
    "snooze_review": _("Let the order rest"),
    "release": _("Give the held money back"),
    "deliver_by_hand": _("Deliver by hand"),
    "send_elsewhere": _("Send by another route"),
    "stop_waiting:release": _("Stop waiting: the money goes back"),
    "stop_waiting:next_route": _("Stop waiting: the next route buys"),
    "resolve:delivered": _("It was delivered"),
    "resolve:not_delivered": _("It was not delivered"),
    "resolve:open": _("Not known yet: ask on"),
    "give_back": _("Give the money back"),
    "accept_late": _("Charge the customer for the late delivery"),
    "reverse": _("Give back what the provider took back"),
    "release_codes": _("Let the codes out of quarantine"),
    "claim_case": _("Work on this case"),
    "assign_case": _("Give the case to somebody"),
    "snooze_case": _("Let the case rest"),
    "close_case": _("Close the case as it is"),
    "tell_again": _("Tell the customer of the delivery again"),
}
"""What each decision is called, by its name and choice."""

EFFECTS: words.Words = {
    "add_note": _("A line with your name in the story of the order. Do not write a code into it."),
    "claim_review": _("Your name stands beside the order until it leaves the review. Nothing else changes."),
    "assign_review": _("Another name stands beside the order until it leaves the review. Nothing else changes."),
    "snooze_review": _(
        "The order leaves the queue until then, for at most 90 days, and comes back earlier if there is other news of "
        "it. The provider is asked on as before."
    ),
    "release": _("The customer gets the held money of every unit back that no attempt holds."),
    "deliver_by_hand": _("You have what the customer bought, from the provider by telephone or from elsewhere."),
    "send_elsewhere": _("What no attempt holds is sent by this route next, once; the routes stay as they are."),
    "stop_waiting:release": _(
        "The attempt is given up and the money goes back. The provider is asked on; what it delivers later is our loss."
    ),
    "stop_waiting:next_route": _(
        "The attempt is given up and the next route buys. What the first provider delivers later is our loss."
    ),
    "resolve:delivered": _("The contradiction is settled: the customer has it, and pays."),
    "resolve:not_delivered": _("The contradiction is settled: its codes are hidden, and the money goes back."),
    "resolve:open": _("The contradiction is lifted, and the provider is asked again now."),
    "give_back": _(
        "What was captured and not given back yet returns to the wallet. What the provider charged stays booked."
    ),
    "accept_late": _("The customer has agreed: the delivery is charged, its codes are free, the case is closed."),
    "reverse": _("The customer gets back what was paid for the units that the provider took back."),
    "release_codes": _("The further codes of this paid delivery may be seen like its others; the case is closed."),
    "claim_case": _("Your name stands beside the case. Nothing else changes."),
    "assign_case": _("Another name stands beside the case. Nothing else changes."),
    "snooze_case": _("The case leaves the list until then, for at most 90 days. Nothing else changes."),
    "close_case": _("A late delivery is written off and its code stays hidden; a reversal stays the shop's matter."),
    "tell_again": _(
        "The event of the delivery goes to every webhook of the customer again; the codes go along only where the "
        "customer asked for them. A paused webhook gets it when it is served again."
    ),
}
"""What each decision does, before it is rehearsed."""

CONTROLS: words.Words = {
    Control.ONE: _("You decide this."),
    Control.TWO: _("This needs two people: it waits, and nothing moves, until somebody else confirms it."),
    Control.SINGLE: _("This needs two people, and you are the only one: enter your password and type the amount."),
}


@dataclass(frozen=True, slots=True)
class Open:
    """One decision of an order as a link; `why_not` where it cannot be made now."""

    found: Possible
    title: str
    query: str


def open_decisions(order: Order, now: datetime) -> list[Open]:
    """Every decision about this order, in words."""
    return [as_open(found) for found in possible(order, now)]


def as_open(found: Possible) -> Open:
    """One of them."""
    key = f"{found.name}:{found.choice}" if found.choice else found.name
    parts = {
        "choice": found.choice,
        "attempt": str(found.attempt.pk) if found.attempt else "",
        "case": str(found.case.pk) if found.case else "",
    }
    query = "&".join(f"{name}={value}" for name, value in parts.items() if value)
    return Open(found, words.say(TITLES, key), query)


def waiting_for(order: Order) -> list[tuple[Approval, str]]:
    """What waits for a second person about this order, with what it is called."""
    found = Approval.objects.filter(order=order, status=Approval.Status.PENDING).select_related("asked_by")
    return [(approval, str(approval_title(approval))) for approval in found.order_by("id")]


# --- what it would do


@dataclass(frozen=True, slots=True)
class Told:
    """A foreseen effect in words. A status is (word, label); a change of it two of them."""

    foreseen: Foreseen
    control: str
    statuses: list[tuple[str, str]]
    externals: list[str]
    attempts: list[tuple[str, str, str]]
    postings: list[Posting]
    waits: list[str]


def tell(foreseen: Foreseen) -> Told:
    """The effect as a person reads it."""
    status, external = foreseen.status, foreseen.external
    return Told(
        foreseen=foreseen,
        control=words.say(CONTROLS, foreseen.control),
        statuses=[(word, _label(OrderStatus, word)) for word in dict.fromkeys((status.before, status.after))],
        externals=[_label(ExternalStatus, word) for word in dict.fromkeys((external.before, external.after))],
        attempts=[_attempt(change) for change in foreseen.attempts],
        postings=[as_posting(line) for line in foreseen.postings],
        waits=[_label(DueKind, kind) for kind in foreseen.waits],
    )


def _attempt(change: Change) -> tuple[str, str, str]:
    before = _label(AttemptState, change.before) if change.before else ""
    return change.name, before, _label(AttemptState, change.after)


def _label(choices: Any, word: str) -> str:
    return str(choices(word).label)


def foresee_call(call: Call) -> Foreseen:
    """What this decision would do. Raises a child of `DecisionRefused`."""
    kind = KINDS[call.subject.name]
    order_id = call.subject.order.pk
    if kind.act is None:
        reasoned = Call(call.subject, call.actor, call.now, {**call.typed, "reason": "-"})
        return rehearse(order_id, call.actor, lambda: kind.make(reasoned))
    # A decision that takes an entry says itself what is missing in none.
    entry = call.entry or (Entry() if call.subject.name == "deliver_by_hand" else None)
    wish = Wish(call.attempt_id, call.case_id or None, call.subject.choice, entry)
    return foresee(kind.act, order_id, call.actor, call.now, wish)


def foresee_approval(approval: Approval, actor: User, now: datetime) -> Foreseen:
    """What happens when this request is confirmed. Raises a child of `DecisionRefused`."""
    return foresee(ACTS[approval.action], approval.order_id, actor, now, wish_of(approval))


def currency_of(subject: Subject) -> str:
    """The currency in which the cost of what is delivered by hand is told."""
    if subject.attempt is not None:
        return subject.attempt.cost_currency
    return subject.order.currency


def approval_title(approval: Approval) -> str | Promise:
    """What was asked for."""
    name = {A.DELIVER: "deliver_by_hand"}.get(A(approval.action), str(approval.action))
    return TITLES[f"{name}:{approval.choice}" if approval.choice else name]
