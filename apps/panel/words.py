"""What the hub's own words mean to a person: one table per kind of word. A word without a line is shown as it is."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.common.wire import MaybeSentReason, NotSentReason
from apps.journal import audit
from apps.orders.decisions import Said
from apps.orders.statement_models import BreakEnd
from apps.providers.contract import Outcome
from apps.providers.mapping import Concern
from apps.providers.troubles import TROUBLES

Words = Mapping[str, str | Promise]

REASONS: Words = {
    "waiting:balance_too_low": _("Waits: our money at the provider covers neither it nor what is on its way there."),
    "waiting:breaker_open": _("Waits: the provider has not answered; it is tried again every 15 seconds."),
    "waiting:budget": _("Waits for its turn: the provider takes only so many requests at a time."),
    "waiting:cost_above_price": _("Waits: its cost is above its price by more than the shop allows."),
    "waiting:credentials_missing": _("Waits: the provider account has no complete credentials."),
    "waiting:credentials_unreadable": _("Waits: no key opens the credentials of the provider account."),
    "waiting:currency_unknown": _("Waits: the provider account is in a currency that nobody knows."),
    "waiting:deadline": _("Open past its deadline: a person must look at it."),
    "waiting:in_doubt": _("In doubt for long: the provider gives no certain answer, and nothing is bought again."),
    "waiting:internal_error": _("Waits: an error in the hub kept it from being sent; it is tried again."),
    "waiting:manual_route": _("Waits for a person: its route is not automatic."),
    "waiting:mapping_incomplete": _("Waits: the package's mapping at the provider lacks something the provider needs."),
    "waiting:other_world": _("Waits: its route leads from the sandbox to a real account, or the other way round."),
    "waiting:mapping_refused": _("Waits: the provider does not know what the package is mapped to there."),
    "waiting:outside_hours": _("Waits for the opening hours of its route."),
    "waiting:mapping_missing": _("Waits: the package is not mapped at the provider."),
    "waiting:may_buy": _("Nobody may ask about it: asking could buy again, and the money is not held any more."),
    "waiting:no_name": _("Nobody can ask about it: the provider takes no reference and has told no number."),
    "waiting:reference_too_old": _("Nobody may ask about it any more: the question could be taken for a new order."),
    "waiting:window_over": _("Nobody can ask about it any more: the provider does not remember orders of this age."),
    "waiting:next_route": _("Waits a moment: the next route is about to be tried."),
    "waiting:no_route": _("Waits: the package has no usable route."),
    "waiting:pin": _("Delivered at the provider; the PIN has not come yet, and the money stays held."),
    "waiting:provider_paused": _("Waits: the provider account is paused after a trouble on our side there."),
    "waiting:provider_stopped": _("Waits: somebody has stopped new orders to the provider account."),
    "waiting:provider_unreachable": _("Waits: the provider could not be reached, and nothing was sent."),
    "waiting:rate_missing": _("Waits: there is no exchange rate from the provider's currency to the order's."),
    "waiting:rate_stale": _("Waits: the exchange rate to the order's currency is too old."),
    "waiting:restored": _(
        "The books came back from a backup, and it may have been bought after that was taken: look at the provider's "
        "statement, then send, deliver or release it."
    ),
    "waiting:target_busy": _("Waits: the provider takes one order at a time for a recipient, and has one open."),
    "waiting:tenant_inactive": _("Waits: the shop is switched off."),
    "conflict:accepted": _("Contradiction: the provider calls it open and sent something that a person must judge."),
    "conflict:auth_error": _("Contradiction: refused for our credentials, and yet a PIN came. A person decides."),
    "conflict:completed": _("Contradiction: the provider calls it done against earlier news. A person decides."),
    "conflict:failed_after_delivery": _("Contradiction: delivered first, failed afterwards. A person decides."),
    "conflict:insufficient_balance": _("Contradiction: refused for our balance, and yet a PIN came. A person decides."),
    "conflict:not_found": _("Contradiction: the provider does not know it any more. A person decides."),
    "conflict:not_sent": _("Contradiction: never sent, and yet there is news of it. A person decides."),
    "conflict:out_of_stock": _("Contradiction: out of stock, and yet a PIN came. A person decides."),
    "conflict:partial": _("The provider says that it delivered a part only. A person decides."),
    "conflict:rate_limited": _("Contradiction: refused as too many requests, and yet a PIN came. A person decides."),
    "conflict:rejected": _("Contradiction: rejected, and yet a PIN came. A person decides."),
    "conflict:reversed": _("The provider says that it took the purchase back. A person decides."),
    "conflict:unknown": _("Contradiction: an answer that nobody understands came with a PIN. A person decides."),
}
"""Every reason that an order can have."""

PASSED_OVER: Words = {
    "balance_too_low": _("our money there is too little, with what is on its way"),
    "breaker_open": _("has not answered"),
    "provider_stopped": _("somebody has stopped new orders there"),
    "budget": _("takes no more requests at the moment"),
    "cost_above_price": _("costs more than it brings"),
    "credentials_missing": _("credentials not complete"),
    "credentials_unreadable": _("no key opens its credentials"),
    "currency_unknown": _("in a currency that nobody knows"),
    "field_missing": _("wants to know more than the buyer said"),
    "manual_route": _("a person decides"),
    "mapping_incomplete": _("mapping not complete"),
    "mapping_missing": _("no mapping"),
    "mapping_refused": _("does not know what the package is mapped to"),
    "outside_hours": _("outside its opening hours"),
    "provider_disabled": _("account switched off"),
    "other_world": _("between the sandbox and the real accounts nothing is bought"),
    "target_busy": _("an open order for this recipient is there"),
    "provider_paused": _("account paused"),
    "provider_unreachable": _("could not be reached a moment ago"),
    "quantity_not_sold": _("sells no such quantity"),
    "rate_missing": _("no exchange rate"),
    "rate_stale": _("exchange rate too old"),
    "tried_refused": _("refused before"),
    "tried_failed": _("failed before"),
    "tried_absent": _("proven not to exist there"),
    "tried_abandoned": _("given up by a person"),
}
"""Why a route was passed over."""

STATUS_SENTENCES: Words = {
    "pending": _("Waits to be sent."),
    "processing": _("At the provider; the hub keeps asking."),
    "review": _("A person must look at it."),
    "completed": _("Delivered and paid."),
    "partial": _("A part was delivered; the money for the rest went back to the customer."),
    "rejected": _("Not delivered; the money went back to the customer."),
    "cancelled": _("Cancelled before it was sent; the money went back to the customer."),
    "refunded": _("Refunded by a person."),
}

MONEY_PILLS: Words = {
    "pending": _("money held"),
    "processing": _("money held"),
    "review": _("money held"),
    "completed": _("paid"),
    "partial": _("partly paid"),
    "rejected": _("money back"),
    "cancelled": _("money back"),
    "refunded": _("money back"),
}
"""Where the customer's money is, by the order's status."""

ATTEMPT_SENTENCES: Words = {
    "sending": _("Being sent at this moment."),
    "accepted": _("The provider has accepted it and is working on it."),
    "in_doubt": _("In doubt: no certain answer came. It is looked up by its reference and never bought twice."),
}

STEP_NAMES: Words = {
    "lock_order": _("Lock the order"),
    "check_tenant": _("Check the shop"),
    "check_not_dispatched": _("Check that it is not sent yet"),
    "load_routes": _("Load the routes"),
    "pick_route": _("Pick a route"),
    "load_mapping": _("Load the mapping"),
    "load_integration": _("Load the provider account"),
    "bind_adapter": _("Bind protocol and credentials"),
    "build_request": _("Build the request"),
    "record_attempt": _("Record attempt and reference, before sending"),
    "send_request": _("Send, once"),
    "read_answer": _("Read the answer, save the reference"),
    "apply_outcome": _("Apply the outcome: state, PIN, money"),
    "write_story": _("Write the story"),
    "schedule_check": _("Schedule the next check"),
}

FACTS: Words = {
    "attempt": _("attempt"),
    "attempt_state": _("attempt is"),
    "fence": _("turn"),
    "free_units": _("units to send"),
    "integration": _("account"),
    "kind": _("kind"),
    "knowledge": _("what we know"),
    "latency_ms": _("milliseconds"),
    "mapping": _("mapping"),
    "next_at": _("at"),
    "outcome": _("outcome"),
    "passed_over": _("passed over"),
    "price_group": _("price group"),
    "provider": _("provider"),
    "provider_referans": _("provider_referans"),
    "reason": _("reason"),
    "recipient_given": _("recipient given"),
    "reference": _("reference"),
    "route": _("route"),
    "routes": _("routes"),
    "said": _("meaning"),
    "send_no": _("send number"),
    "status": _("order is"),
    "strategy": _("strategy"),
    "tenant": _("shop"),
    "units": _("units"),
}
"""What a step found, by the name of the fact."""

EVENTS: Words = {
    "created": _("Order created, price held"),
    "dispatch_refused": _("Not sent yet"),
    "refused": _("The provider refused"),
    "not_sent": _("Proven: nothing was sent"),
    "accepted": _("The provider accepted"),
    "in_doubt": _("In doubt: no certain answer"),
    "not_found": _("The provider does not know the reference (no proof yet)"),
    "absent": _("Proven: the provider never got it"),
    "balance_fits_purchase": _("Our balance there fell by just its cost: it was probably bought (no proof)"),
    "balance_fits_none": _("Our balance there did not fall: it was probably not bought (no proof)"),
    "balance_says_nothing": _("Our balance there moved in a way that says nothing about it"),
    "sent_again": _("Sent again under the same reference, which the provider buys once"),
    "in_progress": _("In progress at the provider"),
    "failed_once": _("First reading of a failure; it counts when a second one agrees"),
    "failed": _("Failed at the provider"),
    "partial_once": _("First reading of a part delivery; it counts when a second one agrees"),
    "partial": _("A part was delivered; the rest goes back to the customer"),
    "delivered": _("Delivered"),
    "delivered_without_code": _("Delivered, the PIN is missing"),
    "code_arrived": _("The PIN arrived"),
    "code_missing": _("The PIN is still missing"),
    "pin_overdue": _("The PIN is overdue"),
    "late_delivery": _("Delivered too late: the money had gone back"),
    "reversed": _("Taken back by the provider"),
    "conflict": _("Contradictory news: frozen for a person"),
    "unchanged": _("Nothing new"),
    "not_asked": _("Not asked, because it must not be"),
    "no_information": _("The question brought no information"),
    "asked_again": _("Asked again by a person"),
    "placed_by_hand": _("Placed by hand"),
    "noted": _("Note"),
    "tagged": _("Tag put on"),
    "untagged": _("Tag taken off"),
    "reply_seen": _("A provider's reply was looked at"),
    "task_claimed": _("A person works on it"),
    "codes_revealed": _("Codes were shown"),
    "delivery_told_again": _("The customer is told of the delivery again"),
    "refunded": _("The money was given back by a person"),
    "released": _("The held money was given back by a person"),
    "cancelled": _("Cancelled by a person"),
    "cancelled_by_customer": _("Cancelled by the customer, before it was sent"),
    "note_written": _("The customer wrote a note"),
    "stopped_waiting": _("A person no longer waits for the provider"),
    "sent_elsewhere": _("A person sends it by another route"),
    "restored": _("The books came back from a backup: a person decides whether it may still be bought"),
    "taken_by_hand": _("Taken out of the dispatch, to be delivered by hand"),
    "conflict_resolved": _("A person has settled the contradiction"),
    "late_accepted": _("The customer paid for the late delivery"),
    "reversal_given_back": _("The customer got back what the provider took back"),
    "codes_released": _("Codes were let out of quarantine"),
    "review_claimed": _("A person works on the order in review"),
    "review_assigned": _("The order in review was given to somebody"),
    "review_snoozed": _("The order in review rests until later"),
    "case_claimed": _("A person works on the case"),
    "case_assigned": _("The case was given to somebody"),
    "case_snoozed": _("The case rests until a later day"),
    "case_closed": _("The case was closed"),
    "approval_asked": _("A second person was asked for"),
    "approval_declined": _("The request for a second person was declined"),
    "difference_mended": _("A difference to the provider's statement was mended"),
    "difference_decided": _("A person has decided about a difference to the provider's statement"),
}
"""The lines of an order's story."""

REFUSED_ORDERS: Words = {
    "balance_not_enough": _("The customer's wallet does not cover the price."),
    "client_reference_used": _("Another order of this customer has this reference."),
    "field_invalid": _("This does not look as it must."),
    "idempotency_mismatch": _("This form was used for something else. Load the page again."),
    "idempotency_key_invalid": _("The form is damaged. Load the page again."),
    "order_loop": _("This order would come back to this shop."),
    "package_not_sellable": _("The package cannot be delivered at the moment."),
    "package_unknown": _("This package is not on sale."),
    "price_under_revision": _("Its price does not cover its cost at the moment."),
    "quantity_not_allowed": _("This many cannot be ordered."),
    "repeat_suspected": _("The same was ordered for the same recipient a moment ago: confirm that it is meant."),
}
"""Why an order was not taken, for who places it by hand."""

CAUSES: Words = {
    "create": _("the buyer"),
    "dispatch": _("dispatch"),
    "place": _("answer to the purchase"),
    "find": _("look-up by reference"),
    "status": _("status question"),
    "balance": _("our balance there"),
    "restore": _("the restore from a backup"),
    "statement": _("the provider's statement"),
    "person": _("a person's entry"),
    "panel": _("this panel"),
    "api": _("REST interface"),
    "client_api": _("client API"),
    "znet": _("ZNET interface"),
    "event": _("webhook of the customer"),
}

OUTCOMES: Words = {
    "accepted": _("in progress"),
    "completed": _("done"),
    "partial": _("partly done"),
    "rejected": _("rejected"),
    "reversed": _("reversed"),
    "unknown": _("no certain answer"),
    "not_sent": _("not sent"),
    "rate_limited": _("too many requests"),
    "out_of_stock": _("out of stock"),
    "insufficient_balance": _("our balance there is too low"),
    "auth_error": _("our credentials were refused"),
    "not_found": _("reference unknown there"),
}

ACTIONS: Words = {
    "resend": _("send the same again"),
    "ask": _("ask the provider"),
    "fail_over": _("buy elsewhere"),
    "release": _("give the money back"),
    "wait": _("wait"),
    "person": _("let a person decide"),
}
"""What may be done about an attempt."""

WHY_NOT: Words = {
    "in_flight": _("its request may still arrive"),
    "exists": _("the provider has it"),
    "may_exist": _("nothing proves that the provider does not have it"),
    "not_proven_safe": _("the same reference again might buy a second time"),
    "sent_often": _("it was sent often enough"),
    "too_soon": _("the provider wants a longer pause"),
    "reference_too_old": _("its reference is too old"),
    "window_over": _("the provider does not remember orders of this age"),
    "no_name": _("there is nothing to ask by"),
    "may_buy": _("asking could buy again"),
    "no_money": _("its money is not held any more"),
    "ended": _("it is over"),
    "not_final": _("the failure may still turn into a delivery"),
    "not_needed": _("the hub knows what to do"),
}
"""Why an action is forbidden."""

DUE_WHY: Words = {
    "dispatch": _("It waits to be sent; what stands in its way is looked at again then."),
    "resolve": _("Its answer is not certain; it is asked by its reference after the time that a request may take."),
    "check": _("By the provider's schedule: the first question soon, then at growing distances."),
    "code": _("Its PIN is missing; it is asked for until it comes."),
    "watch": _("It is over, and its last word may still change."),
}
"""Why something is due, by its kind, where nothing was learned that says more."""

KNOWLEDGE: Words = {
    "answered": _("answered"),
    "not_sent": _("nothing left this machine"),
    "maybe_sent": _("may have arrived"),
    "none": _("nothing was asked"),
    "local": _("it is fulfilled here"),
}

BAD_ENTRIES: Words = {
    "codes_missing": _("every unit needs its code"),
    "code_twice": _("another unit has this code already"),
    "code_known": _("this code was delivered before, or lies in the stock"),
    "code_in_proof": _("the proof repeats this code: take it out there"),
    "proof_missing": _("say what shows that it was delivered"),
    "cost_negative": _("a cost is not below zero"),
    "text_too_long": _("at most 300 characters"),
    "reason_missing": _("say why"),
}
"""What is wrong with a person's entry."""

TRANSFERS: Words = {
    "deposit": _("deposit"),
    "withdrawal": _("withdrawal"),
    "correction": _("correction by an operator"),
    "hold": _("held"),
    "capture": _("captured"),
    "release": _("released"),
    "cost": _("cost"),
    "cost_correction": _("correction of the cost"),
    "late_sale": _("late delivery charged"),
    "late_cost": _("cost of a late delivery"),
    "cost_reversal": _("cost taken back by the provider"),
    "sale_reversal": _("given back to the customer"),
    "top_up": _("money sent to the provider"),
    "write_off": _("written off"),
}

PURSES: Words = {
    "customer": _("customer's wallet"),
    "held": _("held for open orders"),
    "revenue": _("sales"),
    "cash": _("outside"),
    "float": _("our money at the provider"),
    "cost": _("cost of goods"),
    "fx": _("changed into another currency"),
    "loss": _("loss"),
}

NOT_SENT: Words = {
    "claimed_by_another": _("another process is sending it at this moment"),
    "dispatched_already": _("it is sent already"),
    "not_due": _("another process is on it"),
    "not_waiting": _("it does not wait any more"),
    "set_aside": _("its answer is kept and will be looked up"),
}
"""Why `try_auto_dispatch` did nothing, where that is no reason of the order."""

ANSWERS: Words = {
    Said.SENT: _("Sent now. What came back: %(detail)s."),
    Said.NOT_SENT: _("Not sent. %(detail)s"),
    Said.ASKED: _("The provider was asked and answered: %(detail)s."),
    Said.PLANNED: _("It is due now: the hub sends or asks within the account's budget."),
    Said.TOO_SOON: _("The provider was asked a moment ago. Wait a few seconds."),
    Said.BEING_SENT: _("It is being sent at this moment. Nothing was asked."),
    Said.BUSY: _("Another process is asking at this moment. Nothing was asked twice."),
    Said.NOTHING_OPEN: _("There is nothing to send and nothing to ask about this order."),
}
"""What a person reads after asking again."""


CONCERNS: Words = {
    Concern.NUMBER: _("The number in its name is another one than the package's."),
    Concern.PRICE: _("Its cost does not fit the price of the package."),
    Concern.CURRENCY: _("Its cost is in another currency than the account's: no expected cost will be stored."),
    Concern.NO_COST: _("The provider tells no cost: no expected cost will be stored."),
    Concern.UNAVAILABLE: _("It is not available there now."),
    Concern.QUANTITY: _("A buyer may order fewer than the provider sells at once."),
    Concern.CODE: _("One of them delivers a PIN, the other does not."),
    Concern.FIELDS: _("The provider demands something that the product does not ask the buyer for."),
}
"""What a person should look at before mapping a package to an item."""

PAUSES: Words = {
    TROUBLES[Outcome.INSUFFICIENT_BALANCE]: _("our balance there is too low"),
    TROUBLES[Outcome.AUTH_ERROR]: _("our credentials, address or permission were refused"),
    TROUBLES[Outcome.RATE_LIMITED]: _("it asked us to slow down"),
}
"""Why a provider account is paused."""

TROUBLE: Words = {
    NotSentReason.DNS: _("its name was not found"),
    NotSentReason.REFUSED: _("the connection was refused"),
    NotSentReason.CONNECT_TIMEOUT: _("no connection in time"),
    NotSentReason.TLS: _("no secure connection"),
    NotSentReason.UNREACHABLE: _("not reachable"),
    NotSentReason.EGRESS: _("requests may not go to this address"),
    MaybeSentReason.TIMEOUT: _("no answer in time"),
    MaybeSentReason.RESET: _("the connection was cut"),
    MaybeSentReason.CUT: _("the answer was cut"),
    MaybeSentReason.TOO_LARGE: _("the answer was too long"),
    MaybeSentReason.PROTOCOL: _("the answer was no HTTP"),
    "empty": _("the answer was empty"),
    "html": _("the answer was a web page"),
    "undecodable": _("the answer could not be decoded"),
    "not_json": _("the answer was no JSON"),
    "no_answer": _("the question failed"),
    "no_usable_row": _("the list holds nothing that could be ordered"),
    "refused_without_a_reason": _("refused without a reason"),
}
"""Why a provider told nothing; its own words are shown as they are."""


def say(words: Words, word: str) -> str:
    """The word as a person reads it; one without a line in the table is shown as it is."""
    return str(words.get(word, word))


def answer_in_words(said: Said, word: str) -> str:
    """What asking again brought, as a sentence."""
    details: dict[Said, tuple[Words, ...]] = {Said.SENT: (EVENTS, NOT_SENT), Said.ASKED: (OUTCOMES,)}
    tables = details.get(said, (REASONS, NOT_SENT))
    found = next((words[key] for words in tables for key in (word, f"waiting:{word}") if key in words), word)
    return str(ANSWERS[said]) % {"detail": found}


STATED: Words = {
    "own_ref": _("Column of our reference"),
    "provider_id": _("Column of their number"),
    "target": _("Column of the recipient"),
    "amount": _("Column of the amount"),
    "currency": _("Column of the currency"),
    "at": _("Column of the time"),
    "word": _("Column of the state"),
    "fee": _("Column of the fee"),
}
"""What a line of a statement may tell."""

SIGNS: Words = {
    "": _("comma or semicolon, as it is"),
    ",": _("comma"),
    ";": _("semicolon"),
    "\t": _("tab"),
    "|": _("bar"),
}
"""What may stand between the cells of a statement."""

BREAK_NOTES: Words = {
    "ambiguous": _("it fits several purchases of ours: nothing was guessed"),
    "another_id": _("they list it under another number: they may have sold it twice"),
    "outside_period": _("its time is outside of what the statement covers"),
    "far_from_ours": _("its time is more than a day away from ours: check the time zone"),
    "bought_there": _("they say it was bought"),
    "pending_there": _("they say it is in progress"),
    "returned_there": _("they say it was refused or paid back"),
}
"""What says more about a difference than its kind."""

BREAK_EVENTS: Words = {
    "opened": _("found"),
    "taken": _("a person works on it"),
    **{str(value): label for value, label in BreakEnd.choices},
}
"""The lines of a difference's story."""

RECORDED: Words = {
    audit.Action.CREATED: _("created"),
    audit.Action.CHANGED: _("changed"),
    audit.Action.DELETED: _("deleted"),
    audit.Action.SIGNED_IN: _("signed in"),
    audit.Action.SIGN_IN_FAILED: _("could not sign in"),
    audit.Action.SIGNED_OUT: _("signed out"),
    audit.Action.SESSION_ENDED: _("signed out other browsers"),
    audit.Action.PASSWORD_CHANGED: _("changed the password"),
    audit.Action.PASSWORD_RESET: _("chose a new password by a mailed link"),
    audit.Action.FACTOR_ON: _("switched the second factor on"),
    audit.Action.FACTOR_OFF: _("switched the second factor off"),
    audit.Action.RECOVERY_USED: _("signed in with a recovery code"),
    audit.Action.RECOVERY_RENEWED: _("made new recovery codes"),
    audit.Action.UNLOCKED: _("was let in again"),
    audit.Action.INVITED: _("invited"),
    audit.Action.INVITATION_WITHDRAWN: _("withdrew an invitation"),
    audit.Action.JOINED: _("joined by an invitation"),
    audit.Action.KEY_REPLACED: _("replaced a key"),
    audit.Action.SIGNING_DEMANDED: _("demanded signed requests"),
    audit.Action.BREAKER_TRIPPED: _("stopped sending to the account"),
    audit.Action.BREAKER_CLOSED: _("let the account be sent to again"),
}
"""What is recorded about the set-up and about signing in."""

RECORDED_TABLES: Words = {"invitation": _("Invitation")}
"""Tables that only the record of changes names."""

RECORDED_FIELDS: Words = {"sealed_secrets": _("Secrets"), "secret_hash": _("Secret")}
"""Fields that nobody sees but as changed."""

KINDS: Words = {"manual": _("By hand"), "stock": _("Own stock")}
"""Kinds of accounts that no protocol names."""
