"""ZNET airtime as a client speaks it."""

from __future__ import annotations

from apps.simulator.probe import Probe, Told, get

LOGIN = {"bayi_kodu": "demo", "sifre": "demo-secret"}
STATES = {"1": "delivered", "2": "waiting", "3": "cancelled"}


def _place(reference: str, recipient: str, quantity: int) -> bytes:
    order = {"operator": "vodafone", "tip": "tam", "kontor": "50", "gsmno": recipient, "tekilnumara": reference}
    return get("/znet_tl/servis/tl_servis.php", LOGIN | order)


def _ask(reference: str, order_id: str) -> bytes:
    return get("/znet_tl/servis/tl_kontrol.php", LOGIN | {"tekilnumara": reference})


def _read(body: bytes) -> Told:
    """`<state>:<text>:<cost>`; a 3 with the text of an unknown reference is no cancellation."""
    state, text, *_ = body.decode().split(":")
    if text == "Bu referansla işlem yok":
        return Told("not_found")
    return Told(STATES.get(state, "unknown"))


PROBE = Probe(
    recipient=lambda n: f"5{n:09d}",
    place=_place,
    ask=_ask,
    is_accepted=lambda body: body.startswith("OK|1|Talebiniz İşleme Alınmıştır.|".encode()),
    is_refused=lambda body: body.startswith((b"OK|3|Bakiye Yetersiz|", b"OK|3|Aktif Kontor Mik")),
    read=_read,
    reads_as={"reversed": "cancelled", "partial": "delivered"},
    gives_codes=False,
)
