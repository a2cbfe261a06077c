"""Setting up customers' webhooks for them, for owners. Codes go only where a customer's own key has asked for them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.models import Customer
from apps.common import clock
from apps.journal import audit
from apps.journal.audit import Action
from apps.panel.member_views import check_owner
from apps.webhooks import endpoints
from apps.webhooks.endpoints import EndpointRefused, TooManyEndpoints, Wish
from apps.webhooks.models import WebhookEndpoint


class EndpointForm(forms.Form):
    """Where a customer's events go, and which."""

    customer = forms.ModelChoiceField(Customer.objects.none(), label=gettext_lazy("Customer"), empty_label=None)
    url = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=endpoints.LONGEST_URL,
        widget=forms.URLInput(attrs={"dir": "ltr", "placeholder": "https://", "autocomplete": "off"}),
    )
    description = forms.CharField(
        label=gettext_lazy("Description"),
        max_length=120,
        required=False,
        widget=forms.TextInput(attrs={"dir": "auto"}),
    )
    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("Events"),
        required=False,
        choices=[(kind, kind) for kind in endpoints.KINDS],
        help_text=gettext_lazy("None chosen: all of them."),
        widget=forms.SelectMultiple(attrs={"dir": "ltr", "size": len(endpoints.KINDS)}),
    )

    def __init__(self, *args: Any, shops: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["customer"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - for the types
        field.queryset = Customer.objects.filter(tenant_id__in=shops, is_active=True).order_by("name", "pk")

    def wish(self) -> Wish:
        """How the endpoint is to be."""
        typed = self.cleaned_data
        return Wish(typed["url"], typed["description"], typed["kinds"])


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("secret")
def endpoint_new(request: HttpRequest) -> HttpResponse:
    """Asks for it; a post makes it and shows its secret this once."""
    form, secret = EndpointForm(request.POST or None, shops=check_owner(request)), ""
    if request.method == "POST" and form.is_valid():
        secret = _create(form)
    context = {"form": form, "secret": secret}
    return render(request, "panel/webhook_endpoint.html", context, status=422 if form.errors else 200)


@sensitive_variables("secret")
def _create(form: EndpointForm) -> str:
    """The secret of the new endpoint; empty where the form says now why there is none."""
    customer, now = form.cleaned_data["customer"], clock.now()
    try:
        with transaction.atomic():
            endpoint, secret = endpoints.create(customer, form.wish(), now)
            told = {"customer": ("", str(customer)), "address": ("", endpoint.host)}
            audit.record(Action.CREATED, endpoint, customer.tenant_id, now, changes=told)
    except EndpointRefused as refused:
        form.add_error(refused.name, refused.detail)
        return ""
    except TooManyEndpoints:
        text = _("This customer has %(most)d endpoints, which is the most: delete one first.")
        form.add_error("customer", text % {"most": endpoints.MOST})
        return ""
    return secret


@never_cache
@login_required
@require_POST
def endpoint_delete(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Nothing is sent there any more."""
    own = WebhookEndpoint.objects.filter(customer__tenant__in=check_owner(request), deleted_at=None)
    endpoint = own.select_related("customer").filter(pk=endpoint_id).first()
    if endpoint is None:
        raise Http404
    now = clock.now()
    with transaction.atomic():
        endpoints.delete(endpoint, now)
        told = {"customer": (str(endpoint.customer), ""), "address": (endpoint.host, "")}
        audit.record(Action.DELETED, endpoint, endpoint.customer.tenant_id, now, changes=told)
    messages.success(request, _("The endpoint is deleted: nothing is sent there any more."))
    return redirect("panel:webhooks")
