"""The endpoints of an order's notes and of its story, as far as the customer may read it."""

from __future__ import annotations

from django.utils.translation import gettext as _
from ninja import Router, Status

from apps.accounts.models import Scope
from apps.api.auth import KeyedRequest, needs
from apps.api.orders import load_order, orders_of
from apps.api.problems import NotesFull
from apps.api.schemas import EventsOut, NewNoteIn, NoteOut, NotesOut, ProblemOut
from apps.api.telling import tell_events
from apps.common import clock
from apps.orders.models import OrderEvent, OrderNote
from apps.orders.notes import MOST, TooManyNotes, notes_of, write_note

router = Router(tags=["notes and events"])


@router.post(
    "/orders/{int:order_id}/notes",
    auth=needs(Scope.ORDERS),
    response={201: NoteOut, (400, 401, 403, 404, 409, 413, 415, 422, 429, 500): ProblemOut},
    url_name="notes",
)
def add_note(request: KeyedRequest, order_id: int, new: NewNoteIn) -> Status[NoteOut]:
    """Write a note about your order. It stays, and the shop's people read it."""
    order = load_order(orders_of(request.auth), order_id)
    try:
        note = write_note(order.pk, new.text, request.auth.key_id, clock.now())
    except TooManyNotes as error:
        raise NotesFull(_("an order takes %(most)d notes") % {"most": MOST}) from error
    return Status(201, tell_note(note))


@router.get(
    "/orders/{int:order_id}/notes",
    auth=needs(Scope.READ),
    response={200: NotesOut, (401, 403, 404, 429, 500): ProblemOut},
    url_name="notes",
)
def list_notes(request: KeyedRequest, order_id: int) -> NotesOut:
    """Your notes about one order, oldest first."""
    order = load_order(orders_of(request.auth), order_id)
    return NotesOut(notes=[tell_note(note) for note in notes_of(order)])


@router.get(
    "/orders/{int:order_id}/events",
    auth=needs(Scope.READ),
    response={200: EventsOut, (401, 403, 404, 429, 500): ProblemOut},
    url_name="events",
)
def list_events(request: KeyedRequest, order_id: int) -> EventsOut:
    """What happened to one order, oldest first."""
    order = load_order(orders_of(request.auth), order_id)
    return EventsOut(events=tell_events(OrderEvent.objects.filter(order=order).order_by("pk")))


def tell_note(note: OrderNote) -> NoteOut:
    """One note as it was written."""
    return NoteOut(id=note.pk, text=note.text, created_at=note.created_at)
