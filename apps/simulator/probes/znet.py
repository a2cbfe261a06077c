"""ZNET PIN as a client speaks it."""

from __future__ import annotations

from apps.simulator.probe import Probe, Told, get

LOGIN = {"kod": "demo", "sifre": "demo-secret"}
STATES = {"1": "waiting", "2": "delivered", "3": "cancelled"}
REFUSALS = (
    "3|Bakiye Yetersiz",
    "3|Aktif Stok Bulunamadı",
    "3|Bayi kodu veya şifre hatalı",
    "3|Kupur Bilgisi Bulunamadı",
)


def _place(reference: str, recipient: str, quantity: int) -> bytes:
    order = {"oyun": "152", "kupur": "60", "referans": reference, "oyuncu_bilgi": recipient}
    return get("/znet/servis/pin_ekle.php", LOGIN | order)


def _ask(reference: str, order_id: str) -> bytes:
    return get("/znet/servis/pin_kontrol.php", LOGIN | {"tahsilat_api_islem_id": reference})


def _read(body: bytes) -> Told:
    """`OK|<state>|<pin>|<description>`: on 3 the third field may be a reason, and a blank or a dash is no PIN."""
    text = body.decode()
    if text.startswith("3|Bu referansla"):
        return Told("not_found")
    ok, state, *rest = text.split("|")
    pin = "|".join(rest[:-1]) if rest else ""
    pins = (pin,) if pin.strip(" -") else ()
    return Told(STATES.get(state, "unknown") if ok == "OK" else "unknown", pins)


PROBE = Probe(
    recipient=lambda n: f"5{n:07d}",
    place=_place,
    ask=_ask,
    is_accepted=lambda body: body.startswith(b"OK|") and body.count(b"|") == 2,
    is_refused=lambda body: body.decode("utf-8", "replace") in REFUSALS,
    read=_read,
    reads_as={"reversed": "cancelled", "partial": "delivered"},
    shown=lambda pins: tuple(pins[-1:]),
)
