"""What a person may do with one order. Each decision is one function; each is told in the order's story."""

from __future__ import annotations

from apps.orders.decisions.approvals import confirm, decline
from apps.orders.decisions.asking import Answer, Said, ask_again
from apps.orders.decisions.by_hand import deliver_by_hand
from apps.orders.decisions.cases import assign_case, claim_case, close_case, snooze_case
from apps.orders.decisions.codes import ShownCode, record_reply_seen, reveal_codes, reveal_codes_once
from apps.orders.decisions.conflicts import Truth, resolve
from apps.orders.decisions.deciding import Alone, Decided, Entry
from apps.orders.decisions.late import accept_late, release_codes, reverse
from apps.orders.decisions.letting_go import Then, release, stop_waiting
from apps.orders.decisions.refunds import give_back, refund
from apps.orders.decisions.refused import (
    AlreadyAsked,
    AlreadyDecided,
    BadInput,
    CodeKnown,
    DecisionRefused,
    NotAllowed,
    NotCovered,
    NotFound,
    NotPossible,
    SecondPersonNeeded,
    TooEarly,
)
from apps.orders.decisions.reviews import add_note, assign_review, claim_review, snooze_review
from apps.orders.decisions.sending import send_elsewhere

__all__ = [
    "Alone",
    "AlreadyAsked",
    "AlreadyDecided",
    "Answer",
    "BadInput",
    "CodeKnown",
    "Decided",
    "DecisionRefused",
    "Entry",
    "NotAllowed",
    "NotCovered",
    "NotFound",
    "NotPossible",
    "Said",
    "SecondPersonNeeded",
    "ShownCode",
    "Then",
    "TooEarly",
    "Truth",
    "accept_late",
    "add_note",
    "ask_again",
    "assign_case",
    "assign_review",
    "claim_case",
    "claim_review",
    "close_case",
    "confirm",
    "decline",
    "deliver_by_hand",
    "give_back",
    "record_reply_seen",
    "refund",
    "release",
    "release_codes",
    "resolve",
    "reveal_codes",
    "reveal_codes_once",
    "reverse",
    "send_elsewhere",
    "snooze_case",
    "snooze_review",
    "stop_waiting",
]
