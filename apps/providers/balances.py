"""Our money at each provider: read now and then, kept with its time, shown as it is; an error is never a zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from django.db import transaction

from apps.common import clock
from apps.common.guards import check_no_transaction
from apps.common.logs import get_logger
from apps.common.money import MICRO, BadAmount, to_micros
from apps.common.multiplex import Job, Lane, ask_many
from apps.providers import troubles
from apps.providers.accounts import NotReady, open_account
from apps.providers.catalogue_models import AccountWatch, BalanceReading
from apps.providers.contract import Account, Balance, Outcome
from apps.providers.models import Integration
from apps.providers.registry import ADAPTERS, load_adapter, load_wired

log = get_logger(__name__)

EVERY = timedelta(minutes=5)
"""How often balances are read."""
FRESH_FOR = 3 * EVERY
"""An older value says nothing about what can be bought now."""
CONCURRENCY = 16
ERROR_LIMIT = 300


def has_balance(integration: Integration) -> bool:
    """Whether the account's protocol can tell a balance."""
    return load_adapter(integration.kind).caps.balance_check


def read_all_balances() -> int:
    """Read the balance of every account in use; returns how many were asked."""
    kinds = [kind for kind, adapter in ADAPTERS.items() if adapter.caps.balance_check]
    used = Integration.objects.filter(kind__in=kinds, is_enabled=True, tenant__is_active=True)
    accounts = list(used.order_by("pk"))
    read_balances(accounts)
    return len(accounts)


def read_balances(integrations: Sequence[Integration]) -> None:
    """Ask these accounts side by side, outside of any transaction, and keep what each answered."""
    check_no_transaction()
    told: dict[object, Balance | None] = {}
    jobs: list[Job[Balance]] = []
    for one in integrations:
        try:
            jobs.append(_job(one, open_account(one)))
        except NotReady as error:
            told[one.pk] = failed(str(error))
    longest = max((one.caps().ask_timeout_s for one in integrations if one.pk not in told), default=0)
    answers = ask_many(jobs, concurrency=CONCURRENCY, total_timeout_s=3 * longest)
    told |= {answer.key: answer.value for answer in answers}
    for one in integrations:
        record_balance(one, told.get(one.pk) or failed("no_answer"), clock.now())


def _job(integration: Integration, account: Account) -> Job[Balance]:
    return Job(
        key=integration.pk,
        talk=load_wired(integration.kind).balance(account),
        policy=integration.egress_policy(),
        lane=Lane(integration.pk),
    )


def failed(error: str) -> Balance:
    """No value, and why."""
    return Balance(None, "", error=error)


# --- keeping it


@dataclass(frozen=True, slots=True)
class Said:
    """An answer as it is stored: three amounts in micro-units or none of them, and the error."""

    amount_micros: int | None
    credit_micros: int | None
    debt_micros: int | None
    currency: str
    error: str

    @classmethod
    def read(cls, balance: Balance, currency: str) -> Said:
        """Rounded to our disadvantage beyond six decimals; an impossible value is an error."""
        currency = balance.currency or currency
        if balance.amount is None:
            return cls(None, None, None, currency, (balance.error or "no_answer")[:ERROR_LIMIT])
        try:
            return cls(
                _micros(balance.amount, ROUND_FLOOR),
                None if balance.credit is None else _micros(balance.credit, ROUND_FLOOR),
                None if balance.debt is None else _micros(balance.debt, ROUND_CEILING),
                currency,
                "",
            )
        except BadAmount as error:
            return cls(None, None, None, currency, str(error)[:ERROR_LIMIT])


def _micros(amount: Decimal, rounding: str) -> int:
    if not amount.is_finite():
        raise BadAmount("the balance is no number")
    return to_micros((amount * MICRO).to_integral_value(rounding) / MICRO)


def record_balance(integration: Integration, balance: Balance, now: datetime) -> BalanceReading:
    """Keep an answer: the same as before moves its time, another one is another row. Warns, and tells the routing."""
    said = Said.read(balance, integration.currency)
    with transaction.atomic():
        last = latest_reading(integration)
        before = last_value(integration)
        reading = _kept(integration, last, said, now)
        if said.amount_micros is not None:
            _watch(integration, reading, now)
            _tell_routing(integration, said.amount_micros, None if before is None else before.amount_micros, now)
    return reading


def latest_reading(integration: Integration) -> BalanceReading | None:
    """The newest answer, a value or an error."""
    return BalanceReading.objects.filter(integration=integration).order_by("-as_of", "-pk").first()


def last_value(integration: Integration) -> BalanceReading | None:
    """The newest answer that was a value."""
    values = BalanceReading.objects.filter(integration=integration, amount_micros__isnull=False)
    return values.order_by("-as_of", "-pk").first()


def fresh_value(integration: Integration, now: datetime) -> BalanceReading | None:
    """The newest value in the account's own currency, unless it is too old to count."""
    last = last_value(integration) if has_balance(integration) else None
    is_fresh = last is not None and last.as_of > now - FRESH_FOR and last.currency == integration.currency
    return last if is_fresh else None


def _kept(integration: Integration, last: BalanceReading | None, said: Said, now: datetime) -> BalanceReading:
    parts = {name: getattr(said, name) for name in Said.__slots__}
    if last is not None and all(getattr(last, name) == value for name, value in parts.items()):
        last.as_of = max(now, last.as_of)
        last.save(update_fields=["as_of"])
        return last
    return BalanceReading.objects.create(integration=integration, since=now, as_of=now, **parts)


def _watch(integration: Integration, reading: BalanceReading, now: datetime) -> None:
    """Say once when the balance falls below what the shop set, and once when it is above again."""
    watch = AccountWatch.objects.filter(integration=integration, alert_below_micros__isnull=False).first()
    if watch is None or watch.alert_below_micros is None or reading.amount_micros is None:
        return
    is_low = reading.currency == integration.currency and reading.amount_micros < watch.alert_below_micros
    if is_low == (watch.low_since is not None):
        return
    AccountWatch.objects.filter(pk=watch.pk).update(low_since=now if is_low else None)
    tell = log.warning if is_low else log.info
    tell("balance_low" if is_low else "balance_recovered", integration=integration.pk, amount=str(reading.amount()))


def _tell_routing(integration: Integration, micros: int, before: int | None, now: datetime) -> None:
    """Zero or less keeps new orders away until the next reading but one; more money than before lets them go on."""
    if micros <= 0:
        troubles.pause(integration, Outcome.INSUFFICIENT_BALANCE, now, retry_after_s=2 * EVERY.total_seconds())
    elif before is None or micros > before:
        troubles.resume(integration, only=Outcome.INSUFFICIENT_BALANCE)
