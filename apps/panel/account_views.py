"""The page of the person who is signed in: password, second factor, and the browsers in which they are signed in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts import second_factor, sign_ins
from apps.accounts.admin_base import owned_tenant_ids
from apps.accounts.models import User
from apps.common import clock
from apps.journal import audit
from apps.journal.audit import Action
from apps.panel.sign_in_views import PasswordMixin, check_password, password_field
from apps.panel.views import person_of


class ProofForm(forms.Form):
    """The person's password, before something about signing in changes."""

    password = password_field()

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_password(self) -> str:
        """The person's own."""
        return check_password(self.request, person_of(self.request), self.cleaned_data["password"])


class PasswordForm(ProofForm, PasswordMixin):
    """A new password in place of the old one, and an e-mail address for the day it is forgotten."""

    password1, password2 = PasswordMixin.create_password_fields(
        gettext_lazy("New password"), gettext_lazy("New password once more")
    )

    def clean(self) -> dict[str, Any]:
        """Both are the same, and good enough."""
        super().clean()
        self.validate_passwords()
        self.validate_password_for_user(person_of(self.request))
        return self.cleaned_data


class MailForm(ProofForm):
    """Where a link for a new password goes."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail"), required=False, widget=forms.EmailInput(attrs={"dir": "ltr"})
    )
    field_order = ["email", "password"]


@never_cache
@login_required
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """Everything about signing in."""
    person = person_of(request)
    context = {
        "is_owner": bool(owned_tenant_ids(request)),
        "is_on": second_factor.is_on(person),
        "is_required": second_factor.is_required(person),
        "codes_left": second_factor.codes_left(person),
        "sessions": sign_ins.open_sessions(person, request.session.session_key, clock.now()),
    }
    return render(request, "panel/account.html", context)


@never_cache
@login_required
@require_POST
def session_end(request: HttpRequest, sign_in_id: int) -> HttpResponse:
    """Sign out in one browser; in somebody else's it is 404."""
    if not sign_ins.end(person_of(request), sign_in_id, clock.now()):
        raise Http404
    messages.success(request, _("That browser is signed out."))
    return redirect("panel:account")


@never_cache
@login_required
@require_POST
def sessions_end(request: HttpRequest) -> HttpResponse:
    """Sign out everywhere else."""
    sign_ins.end_others(person_of(request), request.session.session_key, clock.now())
    messages.success(request, _("Every other browser is signed out."))
    return redirect("panel:account")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
def password(request: HttpRequest) -> HttpResponse:
    """A new password; every other browser is signed out."""
    person, now = person_of(request), clock.now()
    form = PasswordForm(request.POST or None, request=request)
    if request.method != "POST" or not form.is_valid():
        return _proof_page(request, form, _("Change the password"))
    person.set_password(form.cleaned_data["password1"])
    person.save()
    old_key = request.session.session_key
    update_session_auth_hash(request, person)
    sign_ins.moved(old_key, request.session)
    sign_ins.end_others(person, request.session.session_key, now)
    audit.record(Action.PASSWORD_CHANGED, person, None, now)
    messages.success(request, _("The new password is stored."))
    return redirect("panel:account")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
def mail(request: HttpRequest) -> HttpResponse:
    """Another e-mail address."""
    person = person_of(request)
    form = MailForm(request.POST or None, request=request, initial={"email": person.email})
    if request.method != "POST" or not form.is_valid():
        return _proof_page(request, form, _("Change the e-mail address"))
    person.email = User.objects.normalize_email(form.cleaned_data["email"])
    person.save()
    messages.success(request, _("Saved."))
    return redirect("panel:account")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
def recovery(request: HttpRequest) -> HttpResponse:
    """New recovery codes, shown once."""
    person = person_of(request)
    if not second_factor.is_on(person):
        raise Http404
    form = ProofForm(request.POST or None, request=request)
    if request.method != "POST" or not form.is_valid():
        return _proof_page(request, form, _("New recovery codes"))
    codes = second_factor.renew_codes(person, clock.now())
    return render(request, "panel/recovery_codes.html", {"codes": codes})


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
def second_factor_off(request: HttpRequest) -> HttpResponse:
    """The password alone from now on, where no shop demands more."""
    person = person_of(request)
    if not second_factor.is_on(person) or second_factor.is_required(person):
        raise Http404
    form = ProofForm(request.POST or None, request=request)
    if request.method != "POST" or not form.is_valid():
        return _proof_page(request, form, _("Switch the second factor off"))
    second_factor.turn_off(person, clock.now())
    messages.success(request, _("The second factor is off."))
    return redirect("panel:account")


def _proof_page(request: HttpRequest, form: ProofForm, title: str) -> HttpResponse:
    return render(
        request, "panel/account_form.html", {"form": form, "title": title}, status=422 if form.errors else 200
    )
