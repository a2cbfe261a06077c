"""The shapes that go in and out; OpenAPI is made from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from apps.catalog.models import MAX_QUANTITY
from apps.orders.creation import NewOrder
from apps.orders.notes import LONGEST as LONGEST_NOTE
from apps.orders.repeats import MOST as MOST_REPEATS
from apps.orders.telling import ToldExternal as ExternalStatus
from apps.orders.telling import ToldReason as Reason
from apps.orders.telling import ToldStatus as Status

MAX_PAGE = 100


def check_printable(text: str) -> str:
    """`text` as it is. Refuses control characters and invisible ones."""
    if not text.isprintable():
        raise PydanticCustomError("unprintable", "use printable characters only")
    return text


Amount = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{2,6}$", examples=["25.87", "0.0015"])]
SignedAmount = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{2,6}$", examples=["-25.87"])]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before")]
NextCursor = Annotated[str | None, Field(description="send it as `cursor` for the next page; null on the last")]
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), le=datetime(2200, 1, 1, tzinfo=UTC))]
"""A time with its zone, in years that every database knows."""
ClientReference = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(check_printable)]


class NewOrderIn(BaseModel):
    """One order to place."""

    model_config = ConfigDict(extra="forbid", strict=True, title="NewOrder")

    package: str = Field(description="the package's code", examples=["pubg-60"])
    quantity: int = Field(1, json_schema_extra={"minimum": 1, "maximum": MAX_QUANTITY})
    fields: dict[str, str] = Field(
        default_factory=dict, description="the product's input fields by name", examples=[{"player_id": "5123456789"}]
    )
    client_reference: ClientReference | None = Field(None, description="your own name for the order; unique for ever")
    quote_id: str | None = Field(
        None, description="the id of a quote for this package and quantity: the order costs exactly what was quoted"
    )
    repeat: int = Field(
        0,
        description="how many of the same for the same recipient you have wanted so far: 1 for the second one",
        json_schema_extra={"minimum": 0, "maximum": MOST_REPEATS},
    )

    def as_new_order(self) -> NewOrder:
        """The same for the core."""
        return NewOrder(self.package, self.quantity, self.fields, self.client_reference, self.quote_id, self.repeat)


class NewQuoteIn(BaseModel):
    """What to quote a price for."""

    model_config = ConfigDict(extra="forbid", strict=True, title="NewQuote")

    package: str = Field(description="the package's code", examples=["pubg-60"])
    quantity: int = Field(1, json_schema_extra={"minimum": 1, "maximum": MAX_QUANTITY})


class QuoteOut(BaseModel):
    """A price that is promised to you for one order, until it expires."""

    model_config = ConfigDict(title="Quote")

    quote_id: str = Field(description="send it as `quote_id` of the order")
    package: str
    quantity: int
    unit_price: Amount
    price: Amount
    currency: str
    created_at: datetime
    expires_at: datetime


class OrderFilter(BaseModel):
    """Which orders to list."""

    status: Status | None = None
    client_reference: ClientReference | None = None
    package: str | None = Field(None, min_length=1, max_length=60, description="the package's code")
    created_from: Moment | None = Field(None, description="placed at this time or later")
    created_before: Moment | None = Field(None, description="placed before this time")
    limit: Limit = 20
    cursor: Cursor = None

    def columns(self) -> dict[str, object]:
        """The filters of columns, but for the status, which has its own words here."""
        wanted = {
            "client_reference": self.client_reference,
            "package__code": self.package,
            "created_at__gte": self.created_from,
            "created_at__lt": self.created_before,
        }
        return {column: value for column, value in wanted.items() if value is not None}


class PageFilter(BaseModel):
    """Which page of a list."""

    limit: Limit = 20
    cursor: Cursor = None


class FieldsOut(BaseModel):
    """What the customer gave for the delivery."""

    model_config = ConfigDict(title="OrderFields")

    user_identifier: str | None
    extra_field: str | None
    params: dict[str, str]


class OrderOut(BaseModel):
    """One order as its customer may see it; codes are revealed by a request of their own."""

    model_config = ConfigDict(title="Order")

    id: int
    version: int = Field(description="grows with every change of the status; what has a smaller one is older news")
    status: Status
    external_status: ExternalStatus
    reason: Reason | None
    held: bool = Field(description="the order's money is set aside: neither spent nor given back")
    package: str
    product_name: str
    quantity: int
    unit_price: Amount
    price: Amount
    currency: str
    quote_id: str | None
    fields: FieldsOut
    client_reference: str | None
    provider_referans: str | None
    codes_available: int
    created_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None


class OrderPage(BaseModel):
    """Orders, newest first."""

    orders: list[OrderOut]
    next_cursor: NextCursor


class CodeOut(BaseModel):
    """One code in clear."""

    model_config = ConfigDict(title="Code")

    value: str
    serial: str
    pin: str
    url: str
    expires: str


class CodesOut(BaseModel):
    """The codes of an order, in the order of their arrival."""

    model_config = ConfigDict(title="Codes")

    codes: list[CodeOut]


class WrongOut(BaseModel):
    """One thing to mend."""

    model_config = ConfigDict(title="ProblemError")

    pointer: str = Field(description="a JSON pointer into the body, or ?name for a query parameter")
    detail: str


class ProblemOut(BaseModel):
    """Why a request was not served (RFC 9457), and whether to repeat it."""

    model_config = ConfigDict(title="Problem")

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[WrongOut]
    request_id: str
    retryable: bool = Field(description="the same request may be served later")
    money_may_have_moved: bool = Field(description="whether an order was placed is not known: repeat with the same key")
    order_id: int | None = Field(None, description="of `repeat_suspected` alone: the order that is the same")


class NewNoteIn(BaseModel):
    """A note about an order."""

    model_config = ConfigDict(extra="forbid", strict=True, title="NewNote")

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_NOTE), AfterValidator(check_printable)]


class NoteOut(BaseModel):
    """A note of yours; the shop's people read it, no supplier does."""

    model_config = ConfigDict(title="Note")

    id: int
    text: str
    created_at: datetime


class NotesOut(BaseModel):
    """The notes of an order, oldest first."""

    model_config = ConfigDict(title="Notes")

    notes: list[NoteOut]


EventWord = Literal["created", "status_changed", "codes_revealed", "note_written"]


class EventOut(BaseModel):
    """One thing that happened to an order, and how the order stood afterwards."""

    model_config = ConfigDict(title="Event")

    event: EventWord
    status: Status
    at: datetime


class EventsOut(BaseModel):
    """What happened to an order, oldest first."""

    model_config = ConfigDict(title="Events")

    events: list[EventOut]


class BulkResultOut(BaseModel):
    """What became of one line: an order as from `POST /orders`, or a problem."""

    model_config = ConfigDict(title="BulkResult")

    line: int = Field(description="its number in the body, from 1")
    status: int = Field(description="the status that the line would have had alone")
    idempotency_key: str | None
    replayed: bool
    order: OrderOut | None
    problem: ProblemOut | None


class BulkOut(BaseModel):
    """One result for each line, in their order."""

    model_config = ConfigDict(title="BulkResults")

    results: list[BulkResultOut]


class FieldRuleOut(BaseModel):
    """One input field of a product and what it takes."""

    model_config = ConfigDict(title="FieldRule")

    name: str
    label: str
    kind: Literal["text", "digits", "phone", "email", "player_id"]
    pattern: str | None = Field(description="a regular expression for the whole value")
    required: bool


class QuantityOut(BaseModel):
    """How many units one order may have: any from `least` to `most`, or only those in `values`."""

    model_config = ConfigDict(title="QuantityRule")

    least: int
    most: int
    values: list[int] | None


class PriceOut(BaseModel):
    """What one unit costs you from a quantity on."""

    model_config = ConfigDict(title="Price")

    from_quantity: int
    unit_price: Amount


class PackageOut(BaseModel):
    """One thing to order, with your prices."""

    model_config = ConfigDict(title="Package")

    package: str = Field(description="the code to order it by")
    name: str
    product_name: str
    needs_code: bool = Field(description="the order is complete only with its codes")
    available: bool = Field(description="it can be ordered at this moment")
    currency: str
    prices: list[PriceOut] = Field(description="by quantity, the least first; empty where it has no price for you")
    quantity: QuantityOut
    fields: list[FieldRuleOut]
    image_url: str | None


class PackagePage(BaseModel):
    """What you can order."""

    packages: list[PackageOut]
    next_cursor: NextCursor


class WalletOut(BaseModel):
    """What is in your wallet."""

    model_config = ConfigDict(title="Wallet")

    currency: str
    balance: SignedAmount = Field(description="below zero: you use your credit")
    credit: Amount = Field(description="how far below zero the balance may go")
    available: SignedAmount = Field(description="what orders may cost now")


ChangeWord = Literal["deposit", "withdrawal", "correction", "order", "order_returned", "refund", "late_delivery"]


class ChangeOut(BaseModel):
    """One change of your balance."""

    model_config = ConfigDict(title="BalanceChange")

    id: int
    kind: ChangeWord
    amount: SignedAmount
    balance: SignedAmount = Field(description="after it")
    order_id: int | None
    at: datetime


class StatementPage(BaseModel):
    """The changes of your balance, newest first."""

    currency: str
    changes: list[ChangeOut]
    next_cursor: NextCursor


EventKind = Literal[
    "order.pending",
    "order.processing",
    "order.held",
    "order.completed",
    "order.partial",
    "order.rejected",
    "order.cancelled",
    "order.refunded",
]
PauseWord = Literal["by_hand", "gone", "failing"]
DeliveryState = Literal["waiting", "delivered", "dead"]
Description = Annotated[str, Field(max_length=120), AfterValidator(check_printable)]
Kinds = Annotated[list[EventKind], Field(max_length=20, description="the events to send; none: all of them")]
WITH_CODES = Field(description="codes in clear with `order.completed` and `order.partial`; needs the scope `orders`")


class NewEndpointIn(BaseModel):
    """An address to send events to."""

    model_config = ConfigDict(extra="forbid", strict=True, title="NewWebhookEndpoint")

    url: Annotated[str, Field(min_length=1, max_length=500)] = Field(examples=["https://shop.example.com/hooks"])
    description: Description = ""
    kinds: Kinds = []
    with_codes: Annotated[bool, WITH_CODES] = False


class EndpointChangeIn(BaseModel):
    """What to change of an endpoint; what is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True, title="WebhookEndpointChange")

    url: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    description: Description | None = None
    kinds: Kinds | None = None
    with_codes: Annotated[bool, WITH_CODES] | None = None
    paused: bool | None = Field(None, description="true: send nothing; false: send again, beginning with what waited")


class EndpointOut(BaseModel):
    """One address that events are sent to."""

    model_config = ConfigDict(title="WebhookEndpoint")

    id: int
    url: str
    description: str
    kinds: list[EventKind]
    with_codes: bool
    paused: PauseWord | None = Field(description="why nothing is sent: by hand, it said 410, or it took nothing")
    paused_at: datetime | None
    failing_since: datetime | None = Field(description="no delivery was taken since then")
    old_secret_until: datetime | None = Field(description="until then the secret before the last one signs, too")
    created_at: datetime


class NewEndpointOut(EndpointOut):
    """A new endpoint with its secret, which is shown this once."""

    model_config = ConfigDict(title="CreatedWebhookEndpoint")

    secret: str


class EndpointsOut(BaseModel):
    """All your endpoints, oldest first."""

    model_config = ConfigDict(title="WebhookEndpoints")

    endpoints: list[EndpointOut]


class SecretOut(BaseModel):
    """A new secret, which is shown this once; the one before signs beside it until `old_secret_until`."""

    model_config = ConfigDict(title="WebhookSecret")

    secret: str
    old_secret_until: datetime


class DeliveryFilter(BaseModel):
    """Which deliveries to list."""

    state: DeliveryState | None = None
    limit: Limit = 20
    cursor: Cursor = None


class DeliveryOut(BaseModel):
    """One event on its way to one endpoint."""

    model_config = ConfigDict(title="WebhookDelivery")

    id: int
    message_id: str = Field(description="the `webhook-id` that every try of it bears")
    kind: str
    order_id: int | None
    version: int | None = Field(description="the version of the order that it tells of")
    state: DeliveryState
    tries: int = Field(description="since it was created, or sent anew")
    next_at: datetime | None = Field(description="when it is tried next, while it waits")
    created_at: datetime
    ended_at: datetime | None


class DeliveryPage(BaseModel):
    """The deliveries of an endpoint, newest first."""

    model_config = ConfigDict(title="WebhookDeliveries")

    deliveries: list[DeliveryOut]
    next_cursor: NextCursor


TryWord = Literal["taken", "status", "redirect", "gone", "timeout", "unreachable", "tls", "forbidden", "no_answer"]


class TryOut(BaseModel):
    """One try: what came of it, and how your endpoint answered."""

    model_config = ConfigDict(title="WebhookTry")

    at: datetime
    outcome: TryWord
    http_status: int | None
    detail: str
    latency_ms: int
    excerpt: str = Field(description="the beginning of your answer; never kept where codes are sent")


class DeliveryLogOut(DeliveryOut):
    """One delivery with every try, oldest first."""

    model_config = ConfigDict(title="WebhookDeliveryLog")

    log: list[TryOut]
