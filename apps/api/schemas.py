"""The shapes that go in and out; OpenAPI is made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from apps.catalog.models import MAX_QUANTITY
from apps.orders.creation import NewOrder
from apps.orders.repeats import MOST as MOST_REPEATS

MAX_PAGE = 100


def check_printable(text: str) -> str:
    """`text` as it is. Raises ValueError when it holds control characters or invisible ones."""
    if not text.isprintable():
        raise ValueError("use printable characters only")
    return text


Amount = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{2,6}$", examples=["25.87", "0.0015"])]
ClientReference = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(check_printable)]
Status = Literal["pending", "processing", "completed", "partial", "rejected", "cancelled", "refunded"]
ExternalStatus = Literal["not_sent", "sending", "sent", "processing", "completed", "partial", "failed", "reversed"]
Reason = Literal["waiting", "waiting_pin", "in_review"]


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
    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(None, description="next_cursor of the page before")


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
    next_cursor: str | None = Field(description="send it as `cursor` for the next page; null on the last")


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
