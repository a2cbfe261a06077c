"""ZNET PIN against the shared contract, and what only this protocol has: its word table and its oddities."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.common.wire import Answer, HttpReply, MaybeSent, MaybeSentReason
from apps.providers.adapters import znet
from apps.providers.contract import Account, Catalogue, Code, OrderRef, Outcome, PlaceRequest, PollPlan, Result
from apps.providers.parsing import TEXT_LIMIT
from apps.providers.znet_texts import REFUSAL_WORDS, REFUSALS, TextClass, classify
from tests.contract.suite import (
    REPLIES,
    AdapterContract,
    WithCatalogue,
    WithCodes,
    WithReference,
    converse,
    load_reply,
    recorded,
)


class TestZnet(WithReference, WithCodes, WithCatalogue, AdapterContract):
    kind = "znet"
    account = Account("http://panel.invalid", "dealer-5301", {"sifre": "p4ss-word-x"}, "TRY")
    request = PlaceRequest("100000000000000042", {"oyun": "152", "kupur": "60"}, "5123456789")
    cost = Decimal("31.50")
    code = Code("0012-ABCD-3456")
    balance = Decimal("1250.50")
    items = 3
    delivered = "OK|2|CODE|Onaylandı"
    IMPOSSIBLE = {
        "place.completed": "`OK` on pin_ekle is acceptance; delivery is told by pin_kontrol alone",
        "place.rate_limited": "the panels publish no limit and have no word for it",
        "ask.partial": "an order has one unit",
        "ask.reversed": "there is no state for it",
    }

    def repeating(self, body: bytes, secret: bytes) -> bytes:
        return body.replace(b" ", b" " + secret + b" ") + b" " + secret

    def test_promises_no_more_than_the_document(self) -> None:
        """PROVIDERS knows no duplicate behaviour, no proof of absence, no push; servers cap references at 30."""
        caps = self.adapter.caps
        assert (caps.ref_format, caps.ref_max_len, caps.ref_max_age_s) == ("digits18", 30, None)
        assert (caps.dedup, caps.resend_same_ref_safe, caps.resend_min_gap_s) == ("unproven", False, 60)
        assert (caps.find_by_own_ref, caps.absent_after_s, caps.ask_may_create) == (True, None, False)
        assert (caps.query_window_s, caps.status_batch_max, caps.list_form) == (None, 1, "one")
        assert (caps.webhook, caps.balance_check, caps.quantity) == ("none", True, "one")

    def test_asks_seldom_and_waits_for_a_second_reading(self) -> None:
        caps = self.adapter.caps
        assert (caps.place_timeout_s, caps.failed_final_after_s, caps.final_after_s) == (30, 60, 43200)
        assert (caps.flipping, caps.poll) == (frozenset({"failed"}), PollPlan(60, 30, 600, 10))

    @pytest.mark.parametrize(
        ("variant", "costs"),
        [
            ("currencies", [("31.50", "TRY"), ("289.75", "TRY"), ("18.30", "TRY")]),
            ("currencies_abroad", [("0.99", "USD"), ("8.75", "EUR"), ("None", "")]),
        ],
    )
    def test_knows_the_money_of_a_price(self, variant: str, costs: list[tuple[str, str]]) -> None:
        (path,) = [path for path in recorded("znet", "catalogue.items") if path.stem.endswith(f".{variant}")]
        assert [(str(item.cost), item.currency) for item in self.list_all(load_reply(path)).items] == costs


ZNET = znet.Znet()
ACCOUNT, REQUEST = TestZnet.account, TestZnet.request


def reply(text: str, content_type: str = "") -> HttpReply:
    return HttpReply(200, text.encode(), {"content-type": content_type})


def place(text: str) -> Result:
    return converse(ZNET.place(ACCOUNT, REQUEST), reply(text))[0]


def ask(text: str) -> Result:
    return converse(ZNET.find(ACCOUNT, OrderRef(REQUEST.reference)), reply(text))[0]


class TestCalls:
    def test_place_sends_the_document_s_parameters(self) -> None:
        call = next(ZNET.place(ACCOUNT, REQUEST))
        assert (call.method, call.url) == ("GET", "http://panel.invalid/servis/pin_ekle.php")
        assert call.params == (
            ("kod", "dealer-5301"),
            ("sifre", "p4ss-word-x"),
            ("oyun", "152"),
            ("kupur", "60"),
            ("referans", "100000000000000042"),
            ("musteri_tel", "5123456789"),
            ("oyuncu_bilgi", "5123456789"),
        )

    def test_place_joins_the_extra_field_with_one_space_and_prefers_a_phone(self) -> None:
        request = PlaceRequest("1", REQUEST.product, "player", "zone 7", {"phone": "5550001122"})
        sent = dict(next(ZNET.place(ACCOUNT, request)).params)
        assert (sent["oyuncu_bilgi"], sent["musteri_tel"]) == ("player zone 7", "5550001122")

    def test_question_and_balance_send_the_document_s_parameters(self) -> None:
        find = next(ZNET.find(ACCOUNT, OrderRef("42")))
        assert (find.url, find.params[2:]) == (
            "http://panel.invalid/servis/pin_kontrol.php",
            (("tahsilat_api_islem_id", "42"),),
        )
        balance = next(ZNET.balance(ACCOUNT))
        assert (balance.url, len(balance.params)) == ("http://panel.invalid/servis/bakiye_kontrol.php", 2)

    def test_both_credentials_are_hidden(self) -> None:
        call = next(ZNET.balance(ACCOUNT))
        assert call.redacted() == "GET http://panel.invalid/servis/bakiye_kontrol.php?kod=***&sifre=***"

    def test_no_cache_may_answer(self) -> None:
        assert ("Cache-Control", "no-cache") in next(ZNET.find(ACCOUNT, OrderRef("42"))).headers

    @pytest.mark.parametrize("product", [{}, {"oyun": "152"}, {"oyun": "", "kupur": "60"}])
    def test_a_mapping_without_its_ids_is_refused_before_any_call(self, product: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="mapping without"):
            ZNET.place(ACCOUNT, PlaceRequest("1", product, "player"))

    def test_two_units_are_refused_before_any_call(self) -> None:
        with pytest.raises(ValueError, match="one unit"):
            ZNET.place(ACCOUNT, PlaceRequest("1", REQUEST.product, "player", quantity=2))


EXAMPLES: dict[TextClass, dict[str, str]] = {
    TextClass.BALANCE: {
        "bakiye* .. yetersiz*": "Bakiyeniz bu işlem için yetersizdir",
        "yetersiz* bakiye*": "Yetersiz bakiyeniz var",
        "bakiye* .. yeterli degil*": "Bakiyeniz yeterli değildir",
        "bakiye* .. yetmiyor": "Bakiyeniz yetmiyor",
    },
    TextClass.PRODUCT: {
        "kupur* .. bulunam*": "KUPUR BİLGİSİ BULUNAMADI",
        "oyun* .. bulunam*": "Oyun bulunamadı",
        "urun* .. bulunam*": "Ürün bulunamamıştır",
        "paket* .. bulunam*": "Paket bulunamadı",
        "kontor* .. bulunam*": "Aktif Kontor Miktarı Bulunamadı.",
        "kupur* .. gecersiz*": "Küpür geçersizdir",
        "oyun* .. gecersiz*": "Oyun kodu geçersizdir",
        "urun* .. gecersiz*": "Ürün geçersizdir",
        "gecersiz* kupur*": "Geçersiz kupurlar",
        "gecersiz* oyun*": "Geçersiz oyunlar",
        "gecersiz* urun*": "GEÇERSİZ ÜRÜNLER",
        "kupur* .. aktif degil*": "Kupur aktif değildir",
        "oyun* .. aktif degil*": "Bu oyun şu an aktif değildir",
        "urun* .. aktif degil*": "Ürün aktif değildir",
        "satisa kapali*": "Satışa kapalıdır",
    },
    TextClass.STOCK: {
        "stok* .. yok": "Stokta yok",
        "stok* .. yoktur": "Stoklarımızda yoktur",
        "stok* .. yetersiz*": "Stok yetersizliği",
        "yetersiz* stok*": "Yetersiz stoklar",
        "stok* .. bulunam*": "Aktif Stok Bulunamadı",
        "stok* .. tuken*": "Stok tükenmiştir",
        "stok* .. kalmad*": "Stok kalmadı",
    },
    TextClass.LOGIN: {
        "sifre* .. gecersiz*": "Şifreniz geçersizdir",
        "sifre* .. hatali*": "ŞİFRE HATALIDIR",
        "sifre* .. yanlis*": "Şifre yanlıştır",
        "gecersiz* .. sifre*": "Geçersiz kod veya şifreniz",
        "hatali* .. sifre*": "Hatalı kod veya şifreniz",
        "yanlis* .. sifre*": "Yanlış kod veya şifreniz",
        "bayikodu* .. gecersiz*": "bayikodu geçersizdir",
        "bayikodu* .. hatali*": "bayikodu hatalıdır",
        "hatali* bayikodu*": "Hatalı bayikodunuz",
        "bayi kodu* .. gecersiz*": "Bayi kodu geçersizdir",
        "bayi kodu* .. hatali*": "Bayi kodunuz hatalıdır",
        "hatali* bayi kodu*": "HATALI BAYİ KODUNUZ",
        "bayi* bulunam*": "Bayi bulunamadı",
        "bayi* .. aktif degil*": "Bayi hesabı aktif değildir",
        "bayi* .. pasif*": "Bayi pasiftir",
        "bayi* .. kapali*": "Bayilik kapalıdır",
        "api .. aktif degil*": "API aktif değildir",
        "api .. kapali*": "API erişimi kapalıdır",
        "yetki* .. yetersiz*": "Yetki yetersizdir",
        "yetkisiz*": "Yetkisizsiniz",
        "yetki* yok*": "Yetkiniz yoktur",
        "yetki* bulunm*": "Yetkiniz bulunmamaktadır",
        "ip": "İP tanımsız",
    },
    TextClass.DUPLICATE: {
        "daha once*": "Daha önceki talep",
        "onceden": "Önceden alınmış",
        "cakis*": "Tekil numara çakışması.",
        "mukerrer*": "Mükerrerdir",
        "zaten": "Bu referans zaten var",
        "ayni": "Aynı Numaraya Aynı Miktarda 10 Dakika İçinde İşlem Gerçekleşti",
        "duplicate*": "Duplicated reference",
        "already": "Already exists",
    },
    TextClass.TEMPORARY: {
        "sistem*": "Sistemsel arıza",
        "baglanti*": "Bağlantılar koptu",
        "tekrar*": "Tekrarlayınız",
        "sunucu*": "Sunucuya ulaşılamadı",
        "servis*": "Servisler durdu",
        "gecici*": "Geçicidir",
        "bakim*": "Bakımdayız",
        "zaman asim*": "Zaman aşımı",
        "timeout*": "Timeouts",
        "mesgul*": "Hat meşguldür",
        "yogun*": "Yoğunluk var",
        "daha sonra": "Daha sonra arayın",
        "hata olus*": "Hata oluştu",
        "bilinmeyen*": "Bilinmeyenler",
    },
    TextClass.OPENED: {
        "ok": "OK",
        "isleme alindi*": "İşleme alındınız",
        "isleme alinmis*": "Talebiniz İşleme Alınmıştır.",
        "isleniyor*": "İşleniyordur",
        "islemde": "İşlemde",
        "bekle*": "Onay bekleyen talep",
        "bekli*": "Bekliyor",
        "gonderil*": "Gönderildi",
        "yuklendi*": "Yüklendiniz",
        "yukleniyor*": "Yükleniyordur",
        "onayland*": "ONAYLANDI",
        "basarili*": "Başarılıdır",
        "basariyla": "Başarıyla alındı",
        "tamamland*": "Tamamlandı",
        "olusturuldu*": "Kod oluşturuldular",
    },
    TextClass.NO_RECORD: {
        "islem* yok*": "Bu referansla işlem yoktur",
        "islem* bulunam*": "İşlem bulunamadı",
        "kayit* yok*": "Kayıt yoktur",
        "kayit* bulunam*": "KAYIT BULUNAMADI",
        "kaydi* bulunam*": "Talep kaydı bulunamadı",
        "siparis* yok*": "Böyle bir sipariş yoktur",
        "siparis* bulunam*": "Sipariş bulunamadı",
        "talep* bulunam*": "Talep bulunamadı",
        "referans* yok*": "Bu referans yoktur",
        "referans* bulunam*": "Referans bulunamadı",
    },
}
"""For each row of the table a text that belongs to its class by this row alone."""

BY_CLASS = {
    TextClass.BALANCE: Outcome.INSUFFICIENT_BALANCE,
    TextClass.PRODUCT: Outcome.REJECTED,
    TextClass.STOCK: Outcome.OUT_OF_STOCK,
    TextClass.LOGIN: Outcome.AUTH_ERROR,
}
ROWS = [(pattern, text_class, text) for text_class, rows in EXAMPLES.items() for pattern, text in rows.items()]
each_row = pytest.mark.parametrize(("text_class", "text"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])


class TestRefusalWords:
    def test_each_row_has_an_example(self) -> None:
        assert tuple((pattern, text_class) for pattern, text_class, _ in ROWS) == REFUSAL_WORDS

    @each_row
    def test_a_row_gives_its_class_and_no_other(self, text_class: TextClass, text: str) -> None:
        assert classify(text) == {text_class}

    @each_row
    def test_a_row_alone_decides_what_a_refusal_is(self, text_class: TextClass, text: str) -> None:
        assert place(f"3|{text}").outcome is BY_CLASS.get(text_class, Outcome.UNKNOWN)

    @each_row
    def test_a_row_of_another_class_forbids_a_refusal(self, text_class: TextClass, text: str) -> None:
        same = text_class is TextClass.BALANCE
        outcome = place(f"3|Bakiye yetersiz, {text}").outcome
        assert outcome is (Outcome.INSUFFICIENT_BALANCE if same else Outcome.UNKNOWN)

    @each_row
    def test_only_the_duplicate_class_says_duplicate(self, text_class: TextClass, text: str) -> None:
        assert place(f"3|{text}").duplicate is (text_class is TextClass.DUPLICATE)

    @each_row
    def test_code_8_is_never_a_refusal(self, text_class: TextClass, text: str) -> None:
        assert place(f"8|{text}").outcome is Outcome.UNKNOWN

    def test_no_other_classes_are_a_refusal(self) -> None:
        both = frozenset({TextClass.PRODUCT, TextClass.STOCK})
        alone = {frozenset({text_class}): outcome for text_class, outcome in BY_CLASS.items()}
        assert alone | {both: Outcome.OUT_OF_STOCK} == REFUSALS

    def test_a_product_out_of_stock_is_out_of_stock(self) -> None:
        assert place("3|Ürün bulunamadı, stokta yok").outcome is Outcome.OUT_OF_STOCK

    @pytest.mark.parametrize(
        "text",
        [
            "Bakiye",
            "Bakiye: 12.50. Stok yetersiz mi bakın",
            "Tipik bir ipucu",
            "Şifre müşteriye iletilmiştir",
            "Stok",
            "Aktif",
            "Yetkiliye başvurun",
            "Bulunamadı",
            "Eksik Parametre",
            "Hata",
            "",
            "x" * 600 + " bakiye yetersiz",
        ],
    )
    def test_a_word_without_its_refusing_word_is_no_refusal(self, text: str) -> None:
        assert place(f"3|{text}").outcome in (Outcome.UNKNOWN, Outcome.OUT_OF_STOCK)
        assert (place(f"3|{text}").outcome is Outcome.OUT_OF_STOCK) == ("Stok yetersiz" in text)

    @pytest.mark.parametrize("text", ["oku", "zatenki", "aynısı", "alreadyx", "öncedenki", "işlemdeki", "daha sonraki"])
    def test_a_whole_word_forbids_by_itself_only(self, text: str) -> None:
        assert place(f"3|Bakiye yetersiz, {text}").outcome is Outcome.INSUFFICIENT_BALANCE

    @pytest.mark.parametrize(
        "text", ["Stokta yoksa iade", "Stokta yokturlar", "Bakiye yetmiyordu", "Başarıylaydı", "API"]
    )
    def test_a_whole_word_inside_a_longer_one_is_not_read(self, text: str) -> None:
        assert classify(text) == frozenset()

    def test_two_refusing_classes_are_none(self) -> None:
        assert place("3|Bakiye yetersiz veya şifre hatalı").outcome is Outcome.UNKNOWN

    @pytest.mark.parametrize(
        "text", ["BAKİYE YETERSİZ", "bakıye yetersız", "Bakiye  Yetersi\u0307z", "BAKIYE YETERSIZ"]
    )
    def test_every_i_is_alike(self, text: str) -> None:
        assert place(f"3|{text}").outcome is Outcome.INSUFFICIENT_BALANCE


class TestPlaceAnswers:
    def test_balance_after_is_read(self) -> None:
        assert place("OK|31.50|1.250,50").balance_after == Decimal("1250.50")

    @pytest.mark.parametrize("text", ["OK|", "OK||", "OK|?|?", "OK|-5|1", "OK|NaN|1", "OK|1e5|1", "OK|çok|az"])
    def test_ok_is_accepted_without_a_readable_cost(self, text: str) -> None:
        result = place(text)
        assert (result.outcome, result.cost) == (Outcome.ACCEPTED, None)

    @pytest.mark.parametrize("text", ["OK|3|Bakiye Yetersiz|0.00", "OK|1|Talebiniz İşleme Alınmıştır.|5.50"])
    def test_an_airtime_answer_is_neither_accepted_nor_a_refusal(self, text: str) -> None:
        assert place(text).outcome is Outcome.UNKNOWN

    def test_an_airtime_login_answer_with_code_8_is_no_refusal(self) -> None:
        assert place("OK|8|ip geçersiz|0.00").outcome is Outcome.UNKNOWN

    def test_two_answers_in_one_are_no_refusal(self) -> None:
        assert place("3|Bakiye Yetersiz\nOK|31.50|1250.50").outcome is Outcome.UNKNOWN

    def test_number_and_words_are_kept(self) -> None:
        result = place("3| Kupur Bilgisi\n Bulunamadı |")
        assert (result.reason_code, result.reason) == ("3", "Kupur Bilgisi Bulunamadı")

    def test_a_charset_header_is_believed(self) -> None:
        talk = ZNET.place(ACCOUNT, REQUEST)
        cp1254 = HttpReply(200, "3|Şifre geçersiz".encode("cp1254"), {"content-type": "text/html; charset=ISO-8859-9"})
        assert converse(talk, cp1254)[0].reason == "Şifre geçersiz"

    def test_credentials_in_the_panel_s_words_are_hidden(self) -> None:
        assert place("3|dealer-5301 için şifre hatalı: p4ss-word-x").reason == "*** için şifre hatalı: ***"

    @pytest.mark.parametrize("text", ["OK|3|100.00", "OK|3|-", "OK|3|"])
    def test_a_price_of_one_digit_is_a_price(self, text: str) -> None:
        result = place(text)
        assert (result.outcome, result.cost) == (Outcome.ACCEPTED, Decimal(3))

    def test_url_encoded_fields_are_decoded(self) -> None:
        assert place("3|Kupur+Bilgisi+Bulunamad%C4%B1|").reason == "Kupur Bilgisi Bulunamadı"
        assert place("OK|3|ip+ge%C3%A7ersiz|0.00").reason == "ip geçersiz"
        assert place("OK|%7B31.50%7D|1%2C5").cost == Decimal("31.50")

    def test_white_space_around_fields_is_nothing(self) -> None:
        assert place(" ok | 3 | ip geçersiz | 0.00 ").reason_code == "3"
        assert place("OK| 31.50 | 5 ").balance_after == Decimal(5)

    def test_a_text_of_the_longest_length_is_still_read(self) -> None:
        longest = "bakiye yetersiz".rjust(TEXT_LIMIT, "x").replace("xbakiye", " bakiye")
        assert place(f"3|{longest}").outcome is Outcome.INSUFFICIENT_BALANCE
        assert place(f"3|x{longest}").outcome is Outcome.UNKNOWN

    def test_words_are_kept_to_a_length(self) -> None:
        assert len(place("3|" + "uzun " * 1000).reason) == 499


class TestWhyNothingIsKnown:
    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (HttpReply(200, b""), "empty"),
            (HttpReply(200, b"<p>"), "html"),
            (HttpReply(200, b"OK|1\x00|2"), "undecodable"),
            (HttpReply(200, b"\x81"), "undecodable"),
            (HttpReply(500, b"OK|1|2"), "http_500"),
            (HttpReply(200, b"merhaba"), "unlisted"),
            (MaybeSent(MaybeSentReason.CUT, body=b"OK|1|2"), "answer_cut"),
        ],
    )
    def test_is_told_in_a_word(self, answer: Answer, code: str) -> None:
        placed = converse(ZNET.place(ACCOUNT, REQUEST), answer)[0]
        found = converse(ZNET.find(ACCOUNT, OrderRef("42")), answer)[0]
        assert (placed.outcome, placed.reason_code) == (Outcome.UNKNOWN, code)
        assert (found.outcome, found.reason_code) == (Outcome.UNKNOWN, code)

    @pytest.mark.parametrize(("body", "error"), [(b"", "empty"), (b"<p>", "html"), (b"\x81", "undecodable")])
    def test_is_told_of_a_balance_too(self, body: bytes, error: str) -> None:
        assert converse(ZNET.balance(ACCOUNT), HttpReply(200, body))[0].error == error


class TestStateAnswers:
    @pytest.mark.parametrize("state", ["1", "2", "3"])
    def test_the_state_is_the_reason_s_code(self, state: str) -> None:
        assert ask(f" ok | {state} | | tamam").reason_code == state
        assert ask("OK|3|ip geçersiz|0.00").reason_code == "3"
        assert ask("OK|3||ip geçersiz").reason_code == "3"
        assert ask("OK|3||Kayıt yok").reason_code == "3"
        assert ask("OK|77||").reason_code == "state_77"

    @pytest.mark.parametrize("state", ["1", "2", "3", "tamam"])
    def test_a_code_repeated_in_the_description_is_hidden(self, state: str) -> None:
        assert ask(f"OK|{state}|0012-ABCD-3456|Kod: 0012-ABCD-3456").reason == "Kod: ***"

    def test_a_code_made_of_words_is_hidden_in_the_description(self) -> None:
        assert ask("OK|2|ALTIN KART|Kod: ALTIN KART").reason == "Kod: ***"

    def test_the_number_of_a_failed_question_is_the_reason_s_code(self) -> None:
        assert ask("4|Kayıt yok").reason_code == "4"

    def test_a_reason_typed_twice_is_kept(self) -> None:
        assert ask("OK|3|Oyuncu yok|Oyuncu yok").reason == "Oyuncu yok"

    def test_credentials_in_a_description_are_hidden(self) -> None:
        assert ask("OK|2|AB|dealer-5301 aldı").reason == "*** aldı"

    def test_a_charset_header_is_believed(self) -> None:
        cp1252 = HttpReply(200, "OK|2|ÐŸ|".encode("cp1252"), {"content-type": "text/html; charset=iso-8859-1"})
        assert converse(ZNET.find(ACCOUNT, OrderRef("42")), cp1252)[0].codes == (Code("ÐŸ"),)

    def test_url_encoded_words_are_decoded(self) -> None:
        assert ask("3|Kay%C4%B1t+bulunamad%C4%B1|").reason == "Kayıt bulunamadı"
        assert ask("OK|3|Oyuncu+ya%C5%9F%C4%B1|").reason == "Oyuncu yaşı"
        assert ask("OK|1||Bekl%65niyor||").reason == "Bekleniyor"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("3|Hata 12345", "Hata 12345"),
            ("3|Hata 123456", ""),
            ("3|(Hata), tamam.", "(Hata), tamam."),
            ("3|Hata!", "Hata!"),
            ("3|Tekrar 0012-ABCD-3456", ""),
            ("3| 12 34 ", ""),
        ],
    )
    def test_words_that_may_hold_a_code_are_not_kept(self, text: str, reason: str) -> None:
        assert ask(text).reason == reason

    def test_a_bar_in_the_description_survives(self) -> None:
        assert ask("OK|1|-|a|b||c|").reason == "a|b||c"

    def test_a_pin_is_the_third_field_even_when_it_seems_to_go_on(self) -> None:
        result = ask("OK|2|AB|CD|Onaylandı")
        assert (result.codes, result.reason) == ((Code("AB"),), "CD|Onaylandı")

    def test_white_space_inside_a_pin_survives_and_around_it_goes(self) -> None:
        assert ask("OK|2| \tAB  CD\n12 \r\n|tamam").codes == (Code("AB  CD\n12"),)

    def test_a_pin_while_waiting_is_not_a_code(self) -> None:
        result = ask("OK|1|0012-ABCD|İşlemde")
        assert (result.outcome, result.codes, result.reason) == (Outcome.ACCEPTED, (), "İşlemde")

    def test_a_cancelled_order_has_its_description_as_reason(self) -> None:
        assert ask("OK|3|0012-ABCD|Oyuncu bulunamadı").reason == "Oyuncu bulunamadı"

    def test_a_cancelled_order_has_the_text_in_the_pin_field_as_reason(self) -> None:
        assert ask("OK|3|Oyuncu yok| ").reason == "Oyuncu yok"

    @pytest.mark.parametrize("pin", ["0012-ABCD-3456", "12345678", "1234 5678 9012", "PIN: 12345678", "ABCD-EFGH"])
    def test_a_code_left_in_a_cancelled_order_is_neither_code_nor_reason(self, pin: str) -> None:
        result = ask(f"OK|3|{pin}|")
        assert (result.outcome, result.codes, result.reason) == (Outcome.REJECTED, (), "")

    def test_a_code_in_a_failed_question_is_no_reason(self) -> None:
        assert ask("2|0012-ABCD-3456|onaylandi").reason == ""
        assert ask("0012-ABCD-3456").reason == ""

    def test_a_login_text_is_never_a_cancelled_order(self) -> None:
        assert ask("OK|3|Şifre hatalı|").outcome is Outcome.UNKNOWN
        assert ask("OK|3|ip geçersiz|0.00").outcome is Outcome.AUTH_ERROR

    def test_a_missing_record_is_never_a_cancelled_order(self) -> None:
        assert ask("OK|3|Bu referansla işlem yok|").outcome is Outcome.NOT_FOUND
        assert ask("OK|3| |İşlem bulunamadı").outcome is Outcome.NOT_FOUND

    def test_a_login_text_that_finds_nothing_is_a_login_error(self) -> None:
        assert ask("3|Bayi kodu hatalı, kayıt bulunamadı").outcome is Outcome.AUTH_ERROR

    @pytest.mark.parametrize("text", ["3|Sistem hatası: şifre hatalı", "3|İşleme alındı, kayıt bulunamadı"])
    def test_a_temporary_or_good_word_makes_a_failed_question_say_nothing(self, text: str) -> None:
        assert ask(text).outcome is Outcome.UNKNOWN

    def test_finding_nothing_is_enough_in_a_failed_question(self) -> None:
        assert ask("3|Bulunamadı").outcome is Outcome.NOT_FOUND

    @pytest.mark.parametrize("blank", ["", " ", "   ", "-", " - ", "null", "NULL", "+", "+-+", "\u00a0"])
    def test_a_blank_form_is_no_code(self, blank: str) -> None:
        assert ask(f"OK|2|{blank}|Yüklendi").codes == ()

    def test_a_pin_is_decoded_only_where_the_description_proves_the_encoding(self) -> None:
        assert ask("OK|2|AB%2BCD+1|Onayland%C4%B1").codes == (Code("AB+CD 1"),)
        assert ask("OK|2|AB%2BCD+1|Onaylandi").codes == (Code("AB%2BCD+1"),)
        assert ask("OK|2|AB+CD/1=|Onayland%C4%B1").codes == (Code("AB+CD/1="),)

    def test_a_number_left_where_the_state_should_be_is_unknown(self) -> None:
        assert [ask(f"OK|{state}| |").outcome for state in ("0", "4", "22", "02", "", "²")] == [Outcome.UNKNOWN] * 6


class TestBalanceAnswers:
    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("OK|3|ip geçersiz|0.00", "OK|3|ip geçersiz|0.00"),
            ("OK|1.00|0.00|5.00", "OK|1.00|0.00|5.00"),
            ("OK|", "OK|"),
            ("3|p4ss-word-x", "3|***"),
        ],
    )
    def test_an_answer_that_is_no_balance_is_an_error(self, text: str, error: str) -> None:
        balance = converse(ZNET.balance(ACCOUNT), reply(text))[0]
        assert (balance.amount, balance.error) == (None, error)

    def test_debt_is_taken_off(self) -> None:
        balance = converse(ZNET.balance(ACCOUNT), reply("ok|10.00|12.50"))[0]
        assert (balance.amount, balance.credit, balance.debt) == (Decimal("-2.50"), Decimal("10.00"), Decimal("12.50"))


def listed(name: str) -> Catalogue:
    return converse(ZNET.catalogue(ACCOUNT), load_reply(REPLIES / "znet" / f"catalogue.{name}.txt"))[0]


class TestTheList:
    def test_is_asked_for_with_the_document_s_parameters(self) -> None:
        call = next(ZNET.catalogue(ACCOUNT))
        assert (call.method, call.url) == ("GET", "http://panel.invalid/servis/pin_listesi.php")
        assert call.params == (("kod", "dealer-5301"), ("sifre", "p4ss-word-x"))
        assert call.timeout_s == 60

    def test_orders_by_the_pair_because_kupur_is_not_unique(self) -> None:
        pairs = [tuple(item.ids.items()) for item in listed("items").items]
        assert pairs == [
            (("oyun", "152"), ("kupur", "60")),
            (("oyun", "152"), ("kupur", "660")),
            (("oyun", "210"), ("kupur", "60")),
        ]

    def test_reads_strings_and_numbers_alike(self) -> None:
        assert listed("items.numbers").items == listed("items").items
        assert [(item.cost, item.currency) for item in listed("items").items] == [
            (Decimal("31.50"), "TRY"),
            (Decimal("289.75"), "TRY"),
            (Decimal("18.30"), "TRY"),
        ]

    def test_takes_html_out_of_names_and_no_price_for_a_zero(self) -> None:
        told = [(item.name, item.group, item.cost, item.currency) for item in listed("items.html_names").items]
        assert told == [
            ("PUBG Mobile 60 UC", "PUBG & Co", Decimal("31.50"), "TRY"),
            ("PUBG 660", "PUBG", Decimal("289.75"), "TRY"),
            ("Free Fire 60", "Free Fire", None, ""),
        ]

    def test_takes_the_dearer_row_of_a_pair_and_leaves_out_what_cannot_be_ordered(self) -> None:
        told = [(item.name, item.cost) for item in listed("items.doubled").items]
        assert told == [("A 60 yeni", Decimal("33.00")), ("B 60", None), ("D 5", Decimal(5))]

    def test_has_no_price_in_an_unknown_money(self) -> None:
        row = '{"adi":"A","fiyat":"5","para_birimi":"XXX","kupur":"5","oyun_bilgi_id":"1"}'
        body = f'{{"success":true,"result":[{row}]}}'
        assert [(item.cost, item.currency) for item in converse(ZNET.catalogue(ACCOUNT), reply(body))[0].items] == [
            (None, "")
        ]

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("failed", "Bayi kodu veya şifre hatalı"),
            ("failed.no_words", "refused_without_a_reason"),
            ("failed.empty_list", "no_usable_row"),
            ("failed.airtime_form", "OK|3|bayikodu yada sifre geçersiz|0.00"),
        ],
    )
    def test_says_why_there_is_none(self, name: str, error: str) -> None:
        assert listed(name) == Catalogue((), error)

    def test_shows_no_credential_that_the_panel_repeats(self) -> None:
        told = converse(ZNET.catalogue(ACCOUNT), reply('{"success":false,"error":"p4ss-word-x hatali"}'))[0]
        assert told.error == "*** hatali"
