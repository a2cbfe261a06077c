"""The client API that many Arabic stores share: JSON under /client/api/, a token header, and every clone's own ways."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from apps.simulator import asking, placing, strict
from apps.simulator.dialect import Dialect, Hook, Letter, Product, Refused, Words
from apps.simulator.dialects.client_api_errors import (
    CodeTable,
    ErrorShape,
    HttpStatuses,
    Problem,
    error_body,
    error_status,
    notation,
)
from apps.simulator.fates import BlankForm, RefuseClass
from apps.simulator.switches import Switches
from apps.simulator.wire import Reply, Request
from apps.simulator.world import Ask, Look, Purchase, State, World, bought


class ListForm(StrEnum):
    """How `orders` of `check` is read: the vendor's brackets, commas that leave brackets on the names, a JSON list."""

    BRACKETED = "bracketed"
    COMMAS_ONLY = "commas_only"
    JSON = "json"


class Methods(StrEnum):
    ANY = "any"
    GET = "get"
    POST = "post"


class AfterError(StrEnum):
    """Whether a uuid whose first answer was an error may be used again."""

    REUSABLE = "reusable"
    BURNT = "burnt"


class RepeatFlag(StrEnum):
    """What marks the answer to a uuid that was used before."""

    NONE = "none"
    REUSED = "reused"
    DUPLICATE = "duplicate"


class UnknownOrder(StrEnum):
    """What `check` says of an order that is not there: it is left out, or all of the answer is an error."""

    LEFT_OUT = "left_out"
    ERROR = "error"


class PriceForm(StrEnum):
    """A number in newOrder and a long text in check, or one of the two in both."""

    DOCUMENT = "document"
    NUMBER = "number"
    TEXT = "text"


class ReplayForm(StrEnum):
    """Objects with lists in newOrder and a flat list in check, or one of the two in both."""

    DOCUMENT = "document"
    NESTED = "nested"
    FLAT = "flat"


class Vocabulary(StrEnum):
    """The words for states: the vendor's, or those seen in clones."""

    DOCUMENT = "document"
    PROCESSING = "processing"
    PENDING = "pending"
    QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class ClientApiSwitches(Switches):
    codes: CodeTable = CodeTable.CANONICAL
    error_shape: ErrorShape = ErrorShape.MESSAGE
    http_statuses: HttpStatuses = HttpStatuses.ALWAYS_200
    list_form: ListForm = ListForm.BRACKETED
    check_cap: int | None = None
    methods: Methods = Methods.ANY
    after_error: AfterError = AfterError.REUSABLE
    repeat_flag: RepeatFlag = RepeatFlag.NONE
    unknown_order: UnknownOrder = UnknownOrder.LEFT_OUT
    price_form: PriceForm = PriceForm.DOCUMENT
    replay_form: ReplayForm = ReplayForm.DOCUMENT
    vocabulary: Vocabulary = Vocabulary.DOCUMENT
    with_pin: bool = False
    flat_content: bool = False


SWITCH_CHECKS: dict[str, strict.Check] = {
    "codes": strict.one_of(CodeTable),
    "error_shape": strict.one_of(ErrorShape),
    "http_statuses": strict.one_of(HttpStatuses),
    "list_form": strict.one_of(ListForm),
    "check_cap": strict.optional(strict.count),
    "methods": strict.one_of(Methods),
    "after_error": strict.one_of(AfterError),
    "repeat_flag": strict.one_of(RepeatFlag),
    "unknown_order": strict.one_of(UnknownOrder),
    "price_form": strict.one_of(PriceForm),
    "replay_form": strict.one_of(ReplayForm),
    "vocabulary": strict.one_of(Vocabulary),
    "with_pin": strict.flag,
    "flat_content": strict.flag,
}

STATE_WORDS: dict[State, str] = {
    State.WAITING: "wait",
    State.DELIVERED: "accept",
    State.PARTIAL: "accept",
    State.CANCELLED: "reject",
    State.REVERSED: "reject",
}
CLONE_WORDS: dict[Vocabulary, dict[str, str]] = {
    Vocabulary.DOCUMENT: {},
    Vocabulary.PROCESSING: {"wait": "processing", "accept": "completed", "reject": "cancelled"},
    Vocabulary.PENDING: {"wait": "pending", "accept": "success", "reject": "failed"},
    Vocabulary.QUEUED: {"wait": "queued", "accept": "completed", "reject": "failed"},
}
UNKNOWN_WORD = "hold"

PLAYER_ID = "playerId"
ARABIC_PLAYER_ID = "أدخل رقم اللاعب"


def _product(
    number: int,
    name: str,
    price: str,
    params: Sequence[str],
    quantities: object = None,
    kind: str = "package",
    category: str = "PUBG",
    *,
    available: bool = True,
    gives_codes: bool = False,
) -> Product:
    """One row of `products`; the price of an `amount` is for one unit, that of a package for the package."""
    row = {
        "id": number,
        "name": name,
        "price": float(price),
        "params": list(params),
        "category_name": category,
        "available": available,
        "qty_values": quantities,
        "product_type": kind,
        "parent_id": 0,
        "base_price": float(price),
        "category_img": "https://store.invalid/c.png",
    }
    return Product(str(number), "", Decimal(price), gives_codes, row)


PRODUCTS: tuple[Product, ...] = (
    _product(101, "PUBG 60 UC", "0.94536", [PLAYER_ID]),
    _product(102, "iTunes 5 USD", "5.1", [], {"min": 1, "max": "10"}, category="iTunes", gives_codes=True),
    _product(103, "Followers", "0.00126048", [ARABIC_PLAYER_ID], {"min": "100", "max": 15000}, "amount", "Social"),
    _product(104, "Coins", "0.0114", [PLAYER_ID], ["110", "150"], "amount", "Games"),
    _product(105, "PUBG 325 UC", "4.65", [PLAYER_ID], available=False),
)

BLANKS: dict[BlankForm, tuple[str, ...]] = {
    BlankForm.NONE: (),
    BlankForm.SPACE: (" ",),
    BlankForm.DASH: ("-",),
    BlankForm.SPACED_DASH: (" - ",),
    BlankForm.EMPTY: ("",),
}

REFUSALS: dict[RefuseClass, str] = {
    RefuseClass.BALANCE: notation(Problem.BALANCE),
    RefuseClass.PRODUCT: notation(Problem.UNAVAILABLE),
    RefuseClass.AUTH: notation(Problem.BAD_TOKEN),
    RefuseClass.OTHER: notation(Problem.UNKNOWN),
}

API = "/client/api/"
_ORDER_PATH = re.compile(r"/newOrder/([^/]+)/params/?$")
_OWN_PARAMS = frozenset({"qty", "order_uuid"})

# profile, products, content


def profile(request: Request, world: World, now: float) -> Reply:
    if trouble := _trouble(request, world):
        return _error(trouble, world)
    return _json({"balance": f"{world.balance:.3f}", "email": "demo@store.invalid", "towFactor": False})


def products(request: Request, world: World, now: float) -> Reply:
    if trouble := _trouble(request, world):
        return _error(trouble, world)
    wanted = [name for name in request.params.get("products_id", "").split(",") if name]
    rows = [dict(product.row) for product in PRODUCTS if not wanted or product.product in wanted]
    is_short = request.params.get("base") == "1"
    return _json([{"id": row["id"], "name": row["name"]} for row in rows] if is_short else rows)


def content(request: Request, world: World, now: float) -> Reply:
    if trouble := _trouble(request, world):
        return _error(trouble, world)
    names = sorted({str(product.row["category_name"]) for product in PRODUCTS})
    categories = [{"id": number, "name": name, "img": "c.png"} for number, name in enumerate(names, 1)]
    listed = _content_of(request.path.rstrip("/").rsplit("/", 1)[-1], names)
    return _json(
        [*categories, *listed] if world.switches.flat_content else {"categories": categories, "products": listed}
    )


def _content_of(name: str, categories: Sequence[str]) -> list[dict[str, object]]:
    number = int(name) if name.isdecimal() and int(name) <= len(categories) else 0
    return [dict(each.row) for each in PRODUCTS if number and each.row["category_name"] == categories[number - 1]]


# newOrder


def place(request: Request, world: World, now: float) -> Reply:
    if request.method not in _methods(world):
        return Reply(b'{"message":"Method Not Allowed"}', 405, "application/json")
    trouble = _trouble(request, world)
    if trouble and trouble is not Problem.BAD_TOKEN:
        return _error(trouble, world)
    return placing.place(_read_ask(request, world), world, now, is_ours=trouble is None)


def _methods(world: World) -> tuple[str, ...]:
    allowed: dict[Methods, tuple[str, ...]] = {
        Methods.ANY: ("GET", "POST"),
        Methods.GET: ("GET",),
        Methods.POST: ("POST",),
    }
    return allowed[world.switches.methods]


def _read_ask(request: Request, world: World) -> Ask:
    path = _ORDER_PATH.search(request.path)
    extra = {name: value for name, value in request.params.items() if name not in _OWN_PARAMS}
    return Ask(
        account=world.account.login if request.headers.get("api-token") == world.account.password else "",
        reference=request.params.get("order_uuid", ""),
        product=path.group(1) if path else "",
        recipient=next(iter(extra.values()), ""),
        quantity=_quantity(request.params.get("qty", "1")),
        extra=extra,
    )


def _quantity(text: str) -> Decimal:
    """What was asked for; zero for what is no number, which no product sells."""
    try:
        return Decimal(text) if Decimal(text).is_finite() else Decimal(0)
    except InvalidOperation:
        return Decimal(0)


def _product_of(ask: Ask, world: World) -> Product:
    if not _is_uuid(ask.reference):
        raise Refused(notation(Problem.BAD_UUID))
    if world.switches.after_error is AfterError.BURNT:
        _check_burnt(ask, world)
    product = world.dialect.find_product(ask.product)
    if product is None:
        raise Refused(notation(Problem.NO_PRODUCT))
    if not product.row["available"]:
        raise Refused(notation(Problem.UNAVAILABLE))
    _check_quantity(ask.quantity, product.row["qty_values"])
    if any(not ask.extra.get(name) for name in product.row["params"]):
        raise Refused(notation(Problem.MISSING_PARAM))
    return product


def _is_uuid(text: str) -> bool:
    try:
        return uuid.UUID(text).version == 4
    except ValueError:
        return False


def _check_burnt(ask: Ask, world: World) -> None:
    """The same error again for a uuid that was answered with one before."""
    text = world.first_refusal(ask.reference)
    if text is not None:
        raise Refused(text)


def _check_quantity(quantity: Decimal, allowed: object) -> None:
    """Null means one, a list those in it, an object from its `min` to its `max`; bounds are numbers or texts."""
    if isinstance(allowed, Mapping):
        if quantity < Decimal(str(allowed["min"])):
            raise Refused(notation(Problem.TOO_FEW))
        if quantity > Decimal(str(allowed["max"])):
            raise Refused(notation(Problem.TOO_MANY))
    elif str(quantity) not in (allowed if isinstance(allowed, list) else ["1"]):
        raise Refused(notation(Problem.QUANTITY))


def _accepted(look: Look, world: World) -> Reply:
    return _order(look, world, {})


def _repeated(first: Look, world: World) -> tuple[str, Reply]:
    flag = world.switches.repeat_flag
    return f"original_{flag}", _order(first, world, {} if flag is RepeatFlag.NONE else {flag.value: True})


def _order(look: Look, world: World, marks: Mapping[str, bool]) -> Reply:
    purchase = bought(look)
    told = {
        "order_id": purchase.order_id,
        "status": _word(look, world),
        "price": _price(purchase, world, PriceForm.NUMBER),
        "data": dict(purchase.ask.extra),
        "replay_api": _replays(look, world, ReplayForm.NESTED),
    }
    return _json({"status": "OK", "data": told | _pin(look, world) | dict(marks)})


# check


def check(request: Request, world: World, now: float) -> Reply:
    if trouble := _trouble(request, world):
        return _error(trouble, world)
    names = _names(request.params.get("orders", ""), world)[: world.switches.check_cap]
    by = "reference" if request.params.get("uuid") == "1" else "order_id"
    looks = [_look(name, by, world, now) for name in names if name]
    return asking.answer(looks, world, lambda: _tell(asking.batch(looks, world, now), world))


def _look(name: str, by: str, world: World, now: float) -> Look:
    return world.look(now, reference=name) if by == "reference" else world.look(now, order_id=name)


def _names(text: str, world: World) -> list[str]:
    return [name.strip() for name in READ_LIST[world.switches.list_form](text)]


def _bracketed(text: str) -> list[str]:
    return text.strip().removeprefix("[").removesuffix("]").split(",")


def _json_list(text: str) -> list[str]:
    try:
        listed = json.loads(text)
    except ValueError:
        return []
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


READ_LIST: dict[ListForm, Callable[[str], list[str]]] = {
    ListForm.BRACKETED: _bracketed,
    ListForm.COMMAS_ONLY: lambda text: text.split(","),
    ListForm.JSON: _json_list,
}


def _tell(looks: Sequence[Look], world: World) -> Reply:
    found = [look for look in looks if look.purchase]
    is_wrong = len(found) < len(looks) and world.switches.unknown_order is UnknownOrder.ERROR
    if is_wrong and not found:
        return _error(Problem.NO_ORDER, world)
    return _json({"status": "OK", "data": [_row(look, world) for look in found]})


def _row(look: Look, world: World) -> dict[str, object]:
    purchase = bought(look)
    product = world.dialect.find_product(purchase.ask.product)
    return {
        "order_id": purchase.order_id,
        "quantity": _plain(purchase.ask.quantity),
        "data": dict(purchase.ask.extra),
        "created_at": datetime.fromtimestamp(world.told(purchase.bought_at), UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "product_name": product.row["name"] if product else "",
        "price": _price(purchase, world, PriceForm.TEXT),
        "status": _word(look, world),
        "replay_api": _replays(look, world, ReplayForm.FLAT),
        **_pin(look, world),
    }


# What all of them tell


def _word(look: Look, world: World) -> str:
    return CLONE_WORDS[world.switches.vocabulary].get(look.word, look.word)


def _price(purchase: Purchase, world: World, usual: PriceForm) -> float | str:
    form = usual if world.switches.price_form is PriceForm.DOCUMENT else world.switches.price_form
    return float(purchase.cost) if form is PriceForm.NUMBER else f"{purchase.cost:.16f}"


def _plain(quantity: Decimal) -> int | float:
    return int(quantity) if quantity == quantity.to_integral_value() else float(quantity)


def _replays(look: Look, world: World, usual: ReplayForm) -> object:
    leaves = list(_leaves(look))
    form = usual if world.switches.replay_form is ReplayForm.DOCUMENT else world.switches.replay_form
    if not leaves:
        return None
    return leaves if form is ReplayForm.FLAT else [{"replay": [leaf]} for leaf in leaves]


def _leaves(look: Look) -> Iterator[str]:
    """Codes, and messages for people: nothing tells the two apart."""
    purchase = bought(look)
    fate = purchase.fate
    yield from look.pins
    if look.state is State.WAITING and fate.pin_while_waiting:
        yield from purchase.planned_pins
    if look.state is State.CANCELLED and fate.cancel_text:
        yield fate.cancel_text
    if look.state is State.DELIVERED and not look.pins:
        yield from BLANKS[fate.pin_blank_form]
    if fate.description:
        yield fate.description


def _pin(look: Look, world: World) -> dict[str, str | None]:
    return {"pin": look.pins[-1] if look.pins else None} if world.switches.with_pin else {}


def _trouble(request: Request, world: World) -> Problem | None:
    token = request.headers.get("api-token", "")
    if not token:
        return Problem.NO_TOKEN
    return None if token == world.account.password else Problem.BAD_TOKEN


def _error(problem: Problem, world: World) -> Reply:
    return _refuse(notation(problem), world)


def _refuse(text: str, world: World) -> Reply:
    """An error from its notation: the name of a problem, or `<code>|<text>` as a test may write it."""
    switches = world.switches
    body = error_body(text, switches.codes, switches.error_shape)
    return _json(body, error_status(text, switches.http_statuses, switches.error_shape))


def _json(value: object, status: int = 200) -> Reply:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(body, status, content_type="application/json")


def order_id(number: int, seed: str) -> str:
    """Looks like `ID_9fffb0d849a45215`."""
    return f"ID_{hashlib.blake2b(f'{seed}:{number}'.encode(), digest_size=8).hexdigest()}"


def hook(look: Look, world: World, letter: Letter) -> Hook:
    """The webhook of the one clone that has them."""
    body = json.dumps(_row(look, world), ensure_ascii=False).encode()
    sent_at, nonce = str(int(letter.at)), hashlib.sha256(body).hexdigest()[:32]
    signed = "\n".join(("POST", letter.path, sent_at, nonce, hashlib.sha256(body).hexdigest()))
    signature = hmac.new(letter.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Webhook-Signature": signature,
        "X-Webhook-Signature-Version": "v1",
        "X-Webhook-Timestamp": sent_at,
        "X-Webhook-Nonce": nonce,
    }
    return Hook(tuple(headers.items()), body)


def _bad_login(world: World) -> Reply:
    return _error(Problem.BAD_TOKEN, world)


WORDS = Words(
    states=STATE_WORDS,
    unknown_state=UNKNOWN_WORD,
    refusals=REFUSALS,
    unlisted="199|Your request could not be taken",
    uncertain=notation(Problem.SERVER),
    stranger=lambda world: notation(Problem.BAD_TOKEN),
    bad_login=_bad_login,
    product_of=_product_of,
    accepted=_accepted,
    refuse=_refuse,
    repeated=_repeated,
)

DIALECT = Dialect(
    name="client_api",
    routes={
        f"{API}profile": profile,
        f"{API}products": products,
        f"{API}content/": content,
        f"{API}newOrder/": place,
        f"{API}check": check,
    },
    words=WORDS,
    products=PRODUCTS,
    currency="USD",
    balance=Decimal("8788.683"),
    secrets={"webhook": "demo-webhook-secret"},
    switches=ClientApiSwitches(),
    switch_checks=SWITCH_CHECKS,
    order_id=order_id,
    hook=hook,
    cannot={"P5": "the same uuid is answered with the first order, never with an error"},
)
