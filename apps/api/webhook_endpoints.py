"""The endpoints of the caller's webhooks: where events go, and what became of each."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status

from apps.accounts.keys import may
from apps.accounts.models import Scope
from apps.api import cursors
from apps.api.auth import KeyedRequest, needs
from apps.api.problems import DeliveryNotFound, EndpointInvalid, EndpointNotFound, EndpointsFull, ScopeMissing
from apps.api.schemas import (
    DeliveryFilter,
    DeliveryLogOut,
    DeliveryOut,
    DeliveryPage,
    EndpointChangeIn,
    EndpointOut,
    EndpointsOut,
    NewEndpointIn,
    NewEndpointOut,
    ProblemOut,
    SecretOut,
    TryOut,
)
from apps.common import clock
from apps.webhooks import endpoints, publishing
from apps.webhooks.delivering import redeliver
from apps.webhooks.endpoints import EndpointRefused, TooManyEndpoints, Wish
from apps.webhooks.models import WebhookDelivery, WebhookEndpoint

router = Router(tags=["webhooks"], auth=needs(Scope.WEBHOOKS))

READ = (401, 403, 404, 429, 500)
WRITE = (400, 401, 403, 404, 409, 413, 415, 422, 429, 500)
ONE = "/webhook-endpoints/{int:endpoint_id}"


@router.post("/webhook-endpoints", response={201: NewEndpointOut, WRITE: ProblemOut}, url_name="endpoints")
def add_endpoint(request: KeyedRequest, new: NewEndpointIn, response: HttpResponse) -> Status[NewEndpointOut]:
    """Have events sent to an address of yours. The secret that signs them is shown this once."""
    check_codes_allowed(request, is_asked=new.with_codes)
    wish = Wish(new.url, new.description, new.kinds, new.with_codes)
    try:
        endpoint, secret = endpoints.create(request.auth.customer, wish, clock.now())
    except EndpointRefused as error:
        raise EndpointInvalid(error.detail, f"/{error.name}") from error
    except TooManyEndpoints as error:
        raise EndpointsFull(_("you may have %(most)d; delete one first") % {"most": endpoints.MOST}) from error
    response["Location"] = reverse("api:endpoint", args=[endpoint.pk])
    return Status(201, NewEndpointOut(**columns_of(endpoint), secret=secret))


@router.get("/webhook-endpoints", response={200: EndpointsOut, READ: ProblemOut}, url_name="endpoints")
def list_endpoints(request: KeyedRequest) -> EndpointsOut:
    """All your endpoints."""
    return EndpointsOut(endpoints=[tell_endpoint(one) for one in endpoints.live_endpoints(request.auth.customer)])


@router.get(ONE, response={200: EndpointOut, READ: ProblemOut}, url_name="endpoint")
def show_endpoint(request: KeyedRequest, endpoint_id: int) -> EndpointOut:
    """One endpoint."""
    return tell_endpoint(load_endpoint(request, endpoint_id))


@router.patch(ONE, response={200: EndpointOut, WRITE: ProblemOut}, url_name="endpoint")
def change_endpoint(request: KeyedRequest, endpoint_id: int, wanted: EndpointChangeIn) -> EndpointOut:
    """Change an endpoint, pause it, or have it served again."""
    endpoint = load_endpoint(request, endpoint_id)
    if wanted.model_fields_set - {"paused"}:
        apply_wish(request, endpoint, wish_of(endpoint, wanted))
    if wanted.paused is True:
        endpoints.pause(endpoint, WebhookEndpoint.Pause.BY_HAND, clock.now())
    elif wanted.paused is False:
        endpoints.resume(endpoint)
    return tell_endpoint(endpoint)


@router.delete(ONE, response={204: None, READ: ProblemOut}, url_name="endpoint")
def delete_endpoint(request: KeyedRequest, endpoint_id: int) -> Status[None]:
    """Have nothing sent there any more. What waited is not sent."""
    endpoints.delete(load_endpoint(request, endpoint_id), clock.now())
    return Status(204, None)


@router.post(f"{ONE}/rotate-secret", response={200: SecretOut, READ: ProblemOut}, url_name="endpoint-secret")
def rotate_secret(request: KeyedRequest, endpoint_id: int) -> SecretOut:
    """A new secret. For one day events bear two signatures, one with each, so that you change without a pause."""
    rotated = endpoints.rotate_secret(load_endpoint(request, endpoint_id), clock.now())
    return SecretOut(secret=rotated.secret, old_secret_until=rotated.old_until)


@router.post(f"{ONE}/test", response={202: DeliveryOut, READ: ProblemOut}, url_name="endpoint-test")
def send_test(request: KeyedRequest, endpoint_id: int) -> Status[DeliveryOut]:
    """Send the event `endpoint.test` there, whatever kinds it wants. Its log says what came of it."""
    delivery = publishing.send_test(load_endpoint(request, endpoint_id), clock.now())
    return Status(202, tell_delivery(delivery))


@router.get(f"{ONE}/deliveries", response={200: DeliveryPage, (422, *READ): ProblemOut}, url_name="endpoint-deliveries")
def list_deliveries(request: KeyedRequest, endpoint_id: int, wanted: Query[DeliveryFilter]) -> DeliveryPage:
    """What was sent there, or is to be."""
    rows = WebhookDelivery.objects.filter(endpoint=load_endpoint(request, endpoint_id)).select_related("event")
    if wanted.state is not None:
        rows = rows.filter(state=wanted.state)
    if wanted.cursor is not None:
        rows = rows.filter(pk__lt=cursors.decode(wanted.cursor))
    found = list(rows.order_by("-pk")[: wanted.limit + 1])
    page = found[: wanted.limit]
    next_cursor = cursors.encode(page[-1].pk) if len(found) > len(page) else None
    return DeliveryPage(deliveries=[tell_delivery(one) for one in page], next_cursor=next_cursor)


@router.get(
    f"{ONE}/deliveries/{{int:delivery_id}}",
    response={200: DeliveryLogOut, READ: ProblemOut},
    url_name="endpoint-delivery",
)
def show_delivery(request: KeyedRequest, endpoint_id: int, delivery_id: int) -> DeliveryLogOut:
    """One delivery with every try."""
    delivery = load_delivery(request, endpoint_id, delivery_id)
    log = [TryOut(**{name: getattr(one, name) for name in TryOut.model_fields}) for one in delivery.log.order_by("pk")]
    return DeliveryLogOut(**parts_of(delivery), log=log)


@router.post(
    f"{ONE}/deliveries/{{int:delivery_id}}/resend",
    response={202: DeliveryOut, READ: ProblemOut},
    url_name="endpoint-resend",
)
def resend(request: KeyedRequest, endpoint_id: int, delivery_id: int) -> Status[DeliveryOut]:
    """Send it again, whatever became of it, under the same `webhook-id`."""
    delivery = load_delivery(request, endpoint_id, delivery_id)
    redeliver(delivery, clock.now())
    return Status(202, tell_delivery(delivery))


def apply_wish(request: KeyedRequest, endpoint: WebhookEndpoint, wish: Wish) -> None:
    """Make the endpoint so. Raises `ScopeMissing` or `EndpointInvalid`."""
    check_codes_allowed(request, is_asked=wish.with_codes)
    try:
        endpoints.change(endpoint, wish)
    except EndpointRefused as error:
        raise EndpointInvalid(error.detail, f"/{error.name}") from error


def check_codes_allowed(request: KeyedRequest, *, is_asked: bool) -> None:
    """Raise `ScopeMissing` where a key asks for codes that it could not reveal itself."""
    if is_asked and not may(request.key, Scope.ORDERS):
        raise ScopeMissing(_("this API key lacks the scope '%(scope)s'") % {"scope": Scope.ORDERS.value})


def load_endpoint(request: KeyedRequest, endpoint_id: int) -> WebhookEndpoint:
    """One of the caller's. Raises `EndpointNotFound`, with the same words for a foreign one and for none."""
    own = WebhookEndpoint.objects.select_related("customer").filter(customer=request.auth.customer, deleted_at=None)
    endpoint = own.filter(pk=endpoint_id).first()
    if endpoint is None:
        raise EndpointNotFound(
            _("none of your webhook endpoints has this id; list them with GET /api/v1/webhook-endpoints")
        )
    return endpoint


def load_delivery(request: KeyedRequest, endpoint_id: int, delivery_id: int) -> WebhookDelivery:
    """One delivery of one of the caller's endpoints. Raises `EndpointNotFound` or `DeliveryNotFound`."""
    rows = WebhookDelivery.objects.select_related("event").filter(endpoint=load_endpoint(request, endpoint_id))
    delivery = rows.filter(pk=delivery_id).first()
    if delivery is None:
        raise DeliveryNotFound(_("no delivery of this webhook endpoint has this id; list them under /deliveries"))
    return delivery


def wish_of(endpoint: WebhookEndpoint, wanted: EndpointChangeIn) -> Wish:
    """The endpoint as it is, with what is to change."""

    def keep(name: str) -> Any:
        changed = getattr(wanted, name)
        return getattr(endpoint, name) if changed is None else changed

    return Wish(keep("url"), keep("description"), keep("kinds"), keep("with_codes"))


def tell_endpoint(endpoint: WebhookEndpoint) -> EndpointOut:
    """One endpoint without its secrets."""
    return EndpointOut(**columns_of(endpoint))


def columns_of(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """What is told of an endpoint; an overlap of secrets that is over is none."""
    told = {name: getattr(endpoint, name) for name in EndpointOut.model_fields if name != "paused"}
    if endpoint.old_secret_until is not None and endpoint.old_secret_until <= clock.now():
        told["old_secret_until"] = None
    return {**told, "paused": endpoint.pause or None}


def tell_delivery(delivery: WebhookDelivery) -> DeliveryOut:
    """One delivery without its tries."""
    return DeliveryOut(**parts_of(delivery))


def parts_of(delivery: WebhookDelivery) -> dict[str, Any]:
    """What is told of a delivery."""
    is_waiting = delivery.state == WebhookDelivery.State.WAITING
    return {
        **{name: getattr(delivery, name) for name in ("id", "message_id", "state", "tries", "created_at", "ended_at")},
        "kind": delivery.event.kind,
        "order_id": delivery.event.body.get("order_id"),
        "version": delivery.event.body.get("version"),
        "next_at": delivery.next_at if is_waiting else None,
    }
