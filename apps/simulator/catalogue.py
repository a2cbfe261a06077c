"""The demo products, every value a string as in the panels' document."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Product:
    id: str
    adi: str
    aciklama: str
    oyun_id: str
    oyun_adi: str
    fiyat: str
    kupur: str
    oyun_bilgi_id: str
    gives_pin: bool = True

    def row(self) -> dict[str, str]:
        """The eight fields of one `pin_listesi.php` row; whether it gives a PIN is not told there."""
        return {name: getattr(self, name) for name in LISTED}


LISTED = ("id", "adi", "aciklama", "oyun_id", "oyun_adi", "fiyat", "kupur", "oyun_bilgi_id")

_PIN = "PIN kodu ile teslim edilir"
_DIRECT = "Oyuncu hesabına doğrudan yüklenir"

# 100 is the kupur of two products on purpose: only the pair (oyun_bilgi_id, kupur) names one.
PRODUCTS: tuple[Product, ...] = (
    Product("1", "PUBG Mobile 60 UC", _PIN, "12", "PUBG Mobile", "31.50", "60", "152"),
    Product("2", "PUBG Mobile 325 UC", _PIN, "12", "PUBG Mobile", "149.90", "325", "152"),
    Product("3", "PUBG Mobile 660 UC", _PIN, "12", "PUBG Mobile", "289.75", "660", "152"),
    Product("4", "Steam Cüzdan Kodu 50 TL", _PIN, "7", "Steam", "48.25", "50", "88"),
    Product("5", "Steam Cüzdan Kodu 100 TL", _PIN, "7", "Steam", "96.40", "100", "88"),
    Product("6", "Free Fire 100 Elmas", _DIRECT, "21", "Free Fire", "18.30", "100", "210", gives_pin=False),
    Product("7", "Free Fire 310 Elmas", _DIRECT, "21", "Free Fire", "54.90", "310", "210", gives_pin=False),
)

BY_PAIR: dict[tuple[str, str], Product] = {(item.oyun_bilgi_id, item.kupur): item for item in PRODUCTS}
