"""The currencies that money may be in: the ISO 4217 codes of money that people pay with, and their decimals."""

from __future__ import annotations

CODES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP
CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR
KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN
PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD
TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
""",
    3: "BHD IQD JOD KWD LYD OMR TND",
}

DECIMALS: dict[str, int] = {code: decimals for decimals, codes in CODES.items() for code in codes.split()}
"""How many decimals a payment in each currency has. Prices and costs may be finer, down to a micro-unit."""


class UnknownCurrency(ValueError):
    """A currency that is not in the table of ISO 4217 codes."""


def check_currency(code: object, field: str = "currency") -> str:
    """`code` itself. Raises `UnknownCurrency`, which names `field`, for anything but a known code in capitals."""
    if not isinstance(code, str) or code not in DECIMALS:
        raise UnknownCurrency(f"{field}: {str(code)[:20]!r} is not a currency; write its ISO 4217 code, such as TRY")
    return code
