"""The members of the person's own shops, and invitations to them: for owners."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import invitations, mails
from apps.accounts.admin_base import owned_tenant_ids
from apps.accounts.models import Membership, Tenant
from apps.accounts.security_models import Invitation, SecondFactor
from apps.common import clock
from apps.panel.views import person_of, zone_of


class InviteForm(forms.Form):
    """Whom to invite into which shop, as what."""

    tenant = forms.ModelChoiceField(Tenant.objects.none(), label=gettext_lazy("Shop"), empty_label=None)
    role = forms.ChoiceField(label=gettext_lazy("May"), choices=Invitation.Role.choices)
    email = forms.EmailField(
        label=gettext_lazy("E-mail"),
        required=False,
        help_text=gettext_lazy("Empty: copy the link and hand it over yourself."),
        widget=forms.EmailInput(attrs={"dir": "ltr", "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, shops: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["tenant"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - for the types
        field.queryset = Tenant.objects.filter(pk__in=shops, is_active=True).order_by("name")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("token", "link")
def members(request: HttpRequest) -> HttpResponse:
    """Who works in the shops; a post invites somebody and shows the link this once."""
    shops, now = check_owner(request), clock.now()
    form, link = InviteForm(request.POST or None, shops=shops), ""
    if request.method == "POST" and form.is_valid():
        typed = form.cleaned_data
        _invitation, token = invitations.invite(person_of(request), typed["tenant"], typed["role"], typed["email"], now)
        link = request.build_absolute_uri(reverse("panel:join", args=[token]))
        if typed["email"]:
            _mail(request, typed["email"], typed["tenant"].name, link)
    context = {
        "rows": _rows(shops),
        "invitations": invitations.waiting(shops, now),
        "form": form,
        "link": link,
    }
    with timezone.override(zone_of(shops)):
        return render(request, "panel/members.html", context, status=422 if form.errors else 200)


def _mail(request: HttpRequest, email: str, shop: str, link: str) -> None:
    if mails.mail_invitation(email, shop, link, get_language() or "en"):
        messages.success(request, _("The invitation is on its way to %(email)s.") % {"email": email})
    else:
        messages.error(request, _("The mail could not be sent just now. Hand the link over yourself."))


def _rows(shops: list[int]) -> list[Membership]:
    factor = SecondFactor.objects.filter(user=OuterRef("user"), confirmed_at__isnull=False)
    found = Membership.objects.filter(tenant__in=shops).select_related("user", "tenant")
    return list(found.annotate(has_factor=Exists(factor)).order_by("tenant__name", "user__username"))


@never_cache
@login_required
@require_POST
def invitation_withdraw(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """The link opens nothing any more."""
    found = Invitation.objects.filter(pk=invitation_id, tenant_id__in=check_owner(request)).first()
    if found is None:
        raise Http404
    if invitations.withdraw(found, clock.now()):
        messages.success(request, _("The invitation is withdrawn."))
    else:
        messages.info(request, _("The invitation was used or withdrawn before."))
    return redirect("panel:members")


def check_owner(request: HttpRequest) -> list[int]:
    """The shops that the person owns. Raises `PermissionDenied` where there is none."""
    shops = owned_tenant_ids(request)
    if not shops:
        raise PermissionDenied
    return shops
