"""Views of the list of orders that a person keeps, and the tags of one order: what is only put and removed."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from apps.accounts.models import User
from apps.accounts.view_models import SavedView
from apps.common import clock
from apps.orders.decisions import DecisionRefused, tags
from apps.panel.listing import Wanted
from apps.panel.views import check_may_operate, load_order, person_of

MOST = 20
"""Views of one person."""


class ViewForm(forms.Form):
    """A name for what the list shows."""

    name = forms.CharField(max_length=60)
    query = forms.CharField(max_length=1000)


@never_cache
@login_required
@require_POST
def view_save(request: HttpRequest) -> HttpResponse:
    """Keep the filter under a name; a view of that name shows it from now on."""
    form = ViewForm(request.POST)
    query = Wanted.read(QueryDict(request.POST.get("query", ""))).query()
    if not form.is_valid() or not query:
        messages.error(request, _("Choose filters and a name of at most 60 characters."))
    elif not _keep(person_of(request), form.cleaned_data["name"], query):
        messages.error(request, _("You have %(most)d views. Remove one first.") % {"most": MOST})
    return _to_list(query)


def _keep(person: User, name: str, query: str) -> bool:
    """Whether there was room for it."""
    others = SavedView.objects.filter(user=person).exclude(name=name)
    if others.count() >= MOST:
        return False
    SavedView.objects.update_or_create(user=person, name=name, defaults={"query": query})
    return True


@never_cache
@login_required
@require_POST
def view_remove(request: HttpRequest, view_id: int) -> HttpResponse:
    """Forget one of the person's own views."""
    get_object_or_404(SavedView, pk=view_id, user=person_of(request)).delete()
    return _to_list("")


def _to_list(query: str) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("panel:orders") + (f"?{query}" if query else ""))


@never_cache
@login_required
@require_POST
def tag(request: HttpRequest, order_id: int) -> HttpResponse:
    """Put a tag on the order (`add`) or take one off (`remove`)."""
    found = load_order(request, order_id)
    check_may_operate(request, found.tenant_id)
    person, now = person_of(request), clock.now()
    try:
        if "remove" in request.POST:
            tags.remove_tag(found.pk, person, request.POST["remove"], now)
        else:
            tags.add_tag(found.pk, person, request.POST.get("add", ""), now)
    except DecisionRefused as refused:
        messages.error(request, str(refused))
    return redirect("panel:order", order_id=found.pk)
