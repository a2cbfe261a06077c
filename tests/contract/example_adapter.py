"""The example of docs/adding-a-provider.md: a made-up shop that sells codes over a small JSON interface."""

from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType

from apps.common.wire import BODY_LIMIT, Answer, HttpCall, HttpReply, NotSent
from apps.providers import contract as port
from apps.providers.contract import Account, OrderRef, Outcome, PlaceRequest, Result
from apps.providers.json_answers import objects_in, read_object
from apps.providers.parsing import clean_line, dump_json, json_amount, json_text

STATES = {"open": Outcome.ACCEPTED, "done": Outcome.COMPLETED, "failed": Outcome.REJECTED}
REFUSALS = {
    "no_money": Outcome.INSUFFICIENT_BALANCE, "no_such_item": Outcome.REJECTED, "sold_out": Outcome.OUT_OF_STOCK,
    "bad_key": Outcome.AUTH_ERROR, "slow_down": Outcome.RATE_LIMITED,
}  # fmt: skip


class Example:
    kind, label = "example", "Example shop"
    option_fields: Mapping[str, port.Knob] = MappingProxyType({})
    secret_fields: tuple[str, ...] = ("key",)
    mapping_fields: tuple[str, ...] = ("sku",)
    caps = port.Capabilities(
        ref_format="digits18", ref_max_len=40, ref_max_age_s=None, dedup="rejects", resend_same_ref_safe=True,
        resend_min_gap_s=30, find_by_own_ref=True, absent_after_s=None, ask_may_create=False, query_window_s=None,
        status_batch_max=20, list_form="csv", send_window_s=20, place_timeout_s=30, ask_timeout_s=20,
        resolve_margin_s=10, review_after_s=900, rate_per_s=2, burst=2, poll=port.PollPlan(), flipping=frozenset(),
        final_after_s=0, failed_final_after_s=60, quantity="one", one_per_target=False, webhook="none",
        balance_check=True,
    )  # fmt: skip

    def place(self, account: Account, request: PlaceRequest) -> port.Talk:
        ref, sku, currency = request.reference, request.product["sku"], account.currency
        order = dump_json({"ref": ref, "sku": sku, "for": request.recipient})
        answer = yield self.call(account, "orders", "place_timeout_s", json=order)
        if isinstance(answer, NotSent):
            return Result(Outcome.NOT_SENT, ref, currency=currency, reason_code=answer.reason)
        body, status = read_object(answer, 200, 400), answer.status if isinstance(answer, HttpReply) else None
        placed, word = order_in(account, ref, body), json_text(body.get("error"))
        outcome = REFUSALS.get(word, Outcome.UNKNOWN) if status == 400 else Outcome.UNKNOWN
        text = clean_line(json_text(body.get("text")), account.secrets.values())
        unsure = Result(outcome, ref, "", None, currency, reason_code=word, reason=text, duplicate=word == "same_ref")
        return placed if placed and status == 200 and not word else unsure

    def status(self, account: Account, refs: Sequence[OrderRef]) -> port.TalkMany:
        if len(refs) > self.caps.status_batch_max:
            raise ValueError("too many orders for one question")
        return (yield from self.ask(account, [ref.own_ref for ref in refs]))[0] if refs else {}

    def find(self, account: Account, ref: OrderRef) -> port.Talk:
        found, answer = yield from self.ask(account, [ref.own_ref])
        missing = Outcome.NOT_FOUND if read_object(answer, 200).get("orders") == [] else Outcome.UNKNOWN
        other = Outcome.AUTH_ERROR if read_object(answer, 400).get("error") == "bad_key" else missing
        return found.get(ref.own_ref) or Result(other, ref.own_ref, currency=account.currency)

    def ask(self, account: Account, names: list[str]) -> Generator[HttpCall, Answer, tuple[dict[str, Result], Answer]]:
        answer = yield self.call(account, "orders", "ask_timeout_s", ("refs", ",".join(names)))
        told = {json_text(row.get("ref")): row for row in objects_in(read_object(answer, 200), "orders")}
        found = {name: order_in(account, name, told.get(name, {})) for name in names}
        return {name: result for name, result in found.items() if result}, answer

    def balance(self, account: Account) -> port.TalkBalance:
        amount = json_amount(read_object((yield self.call(account, "balance", "ask_timeout_s")), 200).get("left"))
        return port.Balance(amount, account.currency, credit=amount, error="" if amount is not None else "unreadable")

    def catalogue(self, account: Account) -> port.TalkCatalogue:
        answer = yield self.call(account, "items", "ask_timeout_s")
        rows = {json_text(row.get("sku")): row for row in objects_in(read_object(answer, 200), "items")}
        told = [(sku, json_text(row.get("name")), json_amount(row.get("price"))) for sku, row in rows.items() if sku]
        items = [port.CatalogueItem({"sku": sku}, name or sku, "", cost, account.currency) for sku, name, cost in told]
        return port.Catalogue(tuple(items), "" if items else "the list could not be read")

    def call(self, account: Account, path: str, limit: str, *params: tuple[str, str], json: bytes = b"") -> HttpCall:
        key, most = (("X-Key", account.secrets["key"]),), port.CATALOGUE_LIMIT if path == "items" else BODY_LIMIT
        url, wait = f"{account.base_url}/{path}", account.seconds(limit, self.caps)
        return HttpCall(
            "POST" if json else "GET", url, params, None, json or None, key, wait, frozenset({"X-Key"}), most
        )


def order_in(account: Account, reference: str, row: Mapping[str, object]) -> Result | None:
    outcome, code = STATES.get(json_text(row.get("state"))), json_text(row.get("code"))
    if outcome is None or json_text(row.get("ref")) != reference:
        return None
    codes = (port.Code(code),) if code and outcome is Outcome.COMPLETED else ()
    named, cost = json_text(row.get("id")), json_amount(row.get("price"))
    return Result(outcome, reference, named, cost, account.currency, codes=codes, raw=dump_json(row))
