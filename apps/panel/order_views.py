"""The pages of one order: its story, live; asking again; its codes, shown once."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.common import clock
from apps.orders.chains import links_of
from apps.orders.decisions import Said, ShownCode, ask_again, record_reply_seen, reveal_codes
from apps.orders.decisions.tags import known_tags, tags_of
from apps.orders.models import Evidence, Order
from apps.panel.deciding import open_decisions, waiting_for
from apps.panel.listing import Wanted, neighbours, select_orders
from apps.panel.replies import masked_reply
from apps.panel.story import as_proof, load_story
from apps.panel.views import check_may_operate, live, load_order, person_of, shops_shown, zone_of
from apps.panel.words import answer_in_words
from apps.webhooks.resending import is_told_by_event


@never_cache
@login_required
@require_safe
def order(request: HttpRequest, order_id: int) -> HttpResponse:
    """The story of one order, with the ones beside it in the list that it was opened from."""
    found, wanted = load_order(request, order_id), Wanted.read(request.GET)
    tenant_ids = shops_shown(person_of(request), wanted)
    newer, older = neighbours(found, select_orders(tenant_ids, wanted, clock.now(), zone_of(tenant_ids)))
    beside = {"newer": newer, "older": older, "filter": wanted.query(), "known_tags": known_tags([found.tenant_id])}
    with timezone.override(zone_of([found.tenant_id])):
        return render(request, "panel/order.html", {**_order_context(request, found), **beside})


@never_cache
@login_required
@require_safe
def order_live(request: HttpRequest, order_id: int) -> HttpResponseBase:
    """The part of the story that changes; 304 when it has not."""
    found = load_order(request, order_id)
    with timezone.override(zone_of([found.tenant_id])):
        return live(request, "panel/_order.html", _order_context(request, found))


def _order_context(request: HttpRequest, found: Order) -> dict[str, object]:
    person = person_of(request)
    now, may_act = clock.now(), person.may_operate(found.tenant_id) and not found.tenant.is_sandbox
    return {
        "links": links_of(found) if person.is_superuser else None,
        "story": load_story(found, now),
        "order": found,
        "may_act": may_act,
        "decisions": open_decisions(found, now) if may_act else [],
        "approvals": waiting_for(found),
        "tags": tags_of([found]).get(found.pk, []),
        "can_tell_again": may_act and is_told_by_event(found),
    }


@never_cache
@login_required
@require_POST
def ask(request: HttpRequest, order_id: int) -> HttpResponse:
    """Ask again now, and say what came of it."""
    found = load_order(request, order_id)
    check_may_operate(request, found.tenant_id)
    answer = ask_again(found.pk, person_of(request).get_username(), clock.now())
    level = messages.SUCCESS if answer.said in (Said.SENT, Said.ASKED) else messages.INFO
    messages.add_message(request, level, answer_in_words(answer.said, answer.word))
    return redirect("panel:order", order_id=found.pk)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("shown", "lines", "context")
def reveal(request: HttpRequest, order_id: int) -> HttpResponse:
    """Asks why; the order's codes in clear then, once: this answer only, stored nowhere."""
    found = load_order(request, order_id)
    check_may_operate(request, found.tenant_id)
    form = WhyForm(request.POST or None)
    shown = None
    if request.method == "POST" and form.is_valid():
        why = form.cleaned_data["reason"]
        shown = reveal_codes(found, person_of(request).get_username(), "panel", clock.now(), why)
    with timezone.override(zone_of([found.tenant_id])):
        lines = [as_line(code) for code in shown or []]
        context = {
            "order": found,
            "form": form,
            "is_shown": shown is not None,
            "shown": list(zip(shown or [], lines, strict=True)),
            "all_lines": "\n".join(lines),
        }
        return render(request, "panel/reveal.html", context, status=422 if form.errors else 200)


@sensitive_variables()
def as_line(code: ShownCode) -> str:
    """Everything of a code in one line, as it is copied: its parts are columns in a sheet."""
    return "\t".join(part for part in (code.value, code.serial, code.pin, code.url, code.expires) if part)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("text")
def reply(request: HttpRequest, order_id: int, evidence_id: int) -> HttpResponse:
    """Asks why; one raw reply of a provider then, with all masked that may be a code."""
    found = load_order(request, order_id)
    check_may_operate(request, found.tenant_id)
    evidence = Evidence.objects.select_related("attempt", "order").filter(order=found, pk=evidence_id).first()
    if evidence is None:
        raise Http404
    form, text = WhyForm(request.POST or None), None
    if request.method == "POST" and form.is_valid():
        text = masked_reply(evidence)
        who = person_of(request).get_username()[:80]
        record_reply_seen(found, evidence, who, form.cleaned_data["reason"], clock.now())
    with timezone.override(zone_of([found.tenant_id])):
        context = {"order": found, "proof": as_proof(evidence), "form": form, "text": text}
        return render(request, "panel/reply.html", context, status=422 if form.errors else 200)


class WhyForm(forms.Form):
    """Why somebody looks at codes; the story keeps it."""

    reason = forms.CharField(label=_("Reason"), max_length=200, widget=forms.TextInput(attrs={"dir": "auto"}))
