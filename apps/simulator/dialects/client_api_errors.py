"""How the client API and its clones say no: what is wrong, each one's number for it, and the shapes of an error."""

from __future__ import annotations

from enum import StrEnum


class Problem(StrEnum):
    """What is wrong, in words that no answer shows; `text` is what people read."""

    NO_TOKEN = "no_token"  # noqa: S105 (a word, no secret)
    BAD_TOKEN = "bad_token"  # noqa: S105 (a word, no secret)
    BALANCE = "balance"
    QUANTITY = "quantity"
    TOO_FEW = "too_few"
    TOO_MANY = "too_many"
    NO_PRODUCT = "no_product"
    UNAVAILABLE = "unavailable"
    MISSING_PARAM = "missing_param"
    BAD_UUID = "bad_uuid"
    NO_ORDER = "no_order"
    UNKNOWN = "unknown"
    SERVER = "server"


class CodeTable(StrEnum):
    CANONICAL = "canonical"
    WTN = "wtn"
    WATAN = "watan"


class ErrorShape(StrEnum):
    MESSAGE = "message"
    MSG_OBJECT = "msg_object"
    MSG_TEXT = "msg_text"
    NO_STATUS = "no_status"
    LOWER_CASE = "lower_case"
    WORD = "word"


class HttpStatuses(StrEnum):
    """200 for every error, or the status that fits it."""

    ALWAYS_200 = "always_200"
    FITTING = "fitting"


TEXTS: dict[Problem, str] = {
    Problem.NO_TOKEN: "Api Token is required",
    Problem.BAD_TOKEN: "Token error",
    Problem.BALANCE: "Insufficient balance",
    Problem.QUANTITY: "Quantity not allowed",
    Problem.TOO_FEW: "Quantity too small",
    Problem.TOO_MANY: "Quantity too large",
    Problem.NO_PRODUCT: "Product not found",
    Problem.UNAVAILABLE: "not_available",
    Problem.MISSING_PARAM: "Missing parameter",
    Problem.BAD_UUID: "order_uuid is required",
    Problem.NO_ORDER: "Order not found",
    Problem.UNKNOWN: "Unknown error",
    Problem.SERVER: "Unknown error",
}

# The document has no number for a missing parameter, a wrong uuid or an unknown order: 114 is a guess there.
CANONICAL_CODES: dict[Problem, int] = {
    Problem.NO_TOKEN: 120,
    Problem.BAD_TOKEN: 121,
    Problem.BALANCE: 100,
    Problem.QUANTITY: 106,
    Problem.TOO_FEW: 112,
    Problem.TOO_MANY: 113,
    Problem.NO_PRODUCT: 109,
    Problem.UNAVAILABLE: 110,
    Problem.MISSING_PARAM: 114,
    Problem.BAD_UUID: 114,
    Problem.NO_ORDER: 114,
    Problem.UNKNOWN: 114,
    Problem.SERVER: 500,
}

CODES: dict[CodeTable, dict[Problem, int]] = {
    CodeTable.CANONICAL: CANONICAL_CODES,
    CodeTable.WTN: CANONICAL_CODES
    | {
        Problem.NO_PRODUCT: 105,
        Problem.UNAVAILABLE: 106,
        Problem.BAD_UUID: 107,
        Problem.MISSING_PARAM: 108,
        Problem.QUANTITY: 109,
        Problem.TOO_FEW: 110,
        Problem.TOO_MANY: 110,
    },
    CodeTable.WATAN: CANONICAL_CODES | {Problem.UNKNOWN: 500},
}
"""wtn gives the numbers other meanings; watan keeps 114 for a missing or invalid parameter."""

FITTING: dict[Problem, int] = {
    Problem.NO_TOKEN: 401,
    Problem.BAD_TOKEN: 403,
    Problem.NO_PRODUCT: 404,
    Problem.NO_ORDER: 404,
    Problem.MISSING_PARAM: 422,
    Problem.BAD_UUID: 422,
    Problem.SERVER: 503,
}


def notation(problem: Problem) -> str:
    """How a problem is written in refusals and in the truth ledger."""
    return f"@{problem}"


def error_body(text: str, codes: CodeTable, shape: ErrorShape) -> dict[str, object]:
    """The body for a refusal: `@<problem>`, or `<code>|<text>` as it stands."""
    problem, code, words = _read(text, codes)
    bodies: dict[ErrorShape, dict[str, object]] = {
        ErrorShape.MESSAGE: {"status": "ERROR", "code": code, "message": words},
        ErrorShape.MSG_OBJECT: {"status": "ERROR", "code": code, "msg": {"status": words}},
        ErrorShape.MSG_TEXT: {"status": "ERROR", "code": code, "msg": words},
        ErrorShape.NO_STATUS: {"code": code, "message": words},
        ErrorShape.LOWER_CASE: {"status": "error", "code": code, "message": words},
        ErrorShape.WORD: {"error": problem.name if problem else "ERROR", "message": words},
    }
    return bodies[shape]


def error_status(text: str, statuses: HttpStatuses, shape: ErrorShape) -> int:
    """The HTTP status for a refusal; the lower-case shape was seen with 400 only."""
    problem = _read(text, CodeTable.CANONICAL)[0]
    usual = 400 if shape is ErrorShape.LOWER_CASE else 200
    if statuses is HttpStatuses.ALWAYS_200:
        return usual
    return FITTING.get(problem, 400) if problem else 400


def _read(text: str, codes: CodeTable) -> tuple[Problem | None, int, str]:
    if text.startswith("@"):
        problem = Problem(text[1:])
        return problem, CODES[codes][problem], TEXTS[problem]
    code, _, words = text.partition("|")
    return None, int(code) if code.isdecimal() else 114, words
