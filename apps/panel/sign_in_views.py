"""Signing in: name and password, then a second factor where it is on or demanded; a forgotten password; invitations."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.auth import authenticate
from django.contrib.auth import login as begin_session
from django.contrib.auth.forms import SetPasswordMixin
from django.contrib.auth.views import LoginView, PasswordResetConfirmView
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.crypto import constant_time_compare
from django.utils.dateparse import parse_datetime
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from apps.accounts import invitations, mails, second_factor, sign_ins, tries
from apps.accounts.invitations import InvitationRefused
from apps.accounts.models import User
from apps.accounts.second_factor import TooManyCodes, WrongCode
from apps.common import clock
from apps.common.addresses import address_of
from apps.journal import audit
from apps.journal.audit import Action

if TYPE_CHECKING:
    PasswordMixin = SetPasswordMixin[User]
else:
    PasswordMixin = SetPasswordMixin

BACKEND = "apps.accounts.backends.LimitedBackend"
HALF_WAY = "half_way"
HALF_WAY_FOR = timedelta(minutes=10)
"""How long somebody whose password was right may take to give the second factor."""


class CodeForm(forms.Form):
    """A code of the app, or a recovery code."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=40,
        widget=forms.TextInput(
            attrs={"dir": "ltr", "inputmode": "text", "autocomplete": "one-time-code", "autofocus": True}
        ),
    )


class EmailForm(forms.Form):
    """Where a link is sent."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail"), widget=forms.EmailInput(attrs={"dir": "ltr", "autocomplete": "email"})
    )


# --- name and password


class SignInView(LoginView):
    """The first step; whoever owes a second factor is nobody until it was given."""

    template_name = "panel/login.html"
    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        """The password was right."""
        return go_on(self.request, form.get_user(), self.get_success_url(), clock.now())

    def form_invalid(self, form: Any) -> HttpResponse:
        """Wrong, unknown or tried too often: one answer for all."""
        response = super().form_invalid(form)
        response.status_code = 422
        return response


@never_cache
def set_up_login(request: HttpRequest) -> HttpResponse:
    """The set-up has no way in of its own; who is signed in and may not see it is told so."""
    if request.user.is_authenticated:
        raise PermissionDenied
    query = request.META.get("QUERY_STRING", "")
    return redirect(resolve_url("panel:login") + (f"?{query}" if query else ""))


def go_on(request: HttpRequest, person: User, target: str, now: datetime) -> HttpResponse:
    """Sign the person in, or ask for the second factor first."""
    is_on, is_required = second_factor.standing_of(person)
    if not (is_on or is_required):
        begin_session(request, person, backend=BACKEND)
        return redirect(target)
    request.session.flush()
    request.session[HALF_WAY] = {
        "person": person.pk,
        "password": person.get_session_auth_hash(),
        "at": now.isoformat(),
        "target": target,
    }
    return redirect("panel:second_factor" if is_on else "panel:second_factor_set_up")


def load_half_way(request: HttpRequest, now: datetime) -> tuple[User, str] | None:
    """Who has given the right password a moment ago, and where they wanted to go."""
    told = request.session.get(HALF_WAY)
    at = parse_datetime(told["at"]) if told else None
    if told is None or at is None or now - at > HALF_WAY_FOR:
        return None
    person = User.objects.filter(pk=told["person"], is_active=True).first()
    if person is None or not constant_time_compare(told["password"], person.get_session_auth_hash()):
        return None
    return person, told["target"]


def finish(request: HttpRequest, person: User, target: str) -> HttpResponse:
    """Both factors were right."""
    request.session.pop(HALF_WAY, None)
    begin_session(request, person, backend=BACKEND)
    request.session[second_factor.VERIFIED] = True
    is_ours = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return redirect(target if is_ours else resolve_url("panel:orders"))


# --- the second factor


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
def second_factor_page(request: HttpRequest) -> HttpResponse:
    """The second step: a code of the app, or a recovery code."""
    now = clock.now()
    found = load_half_way(request, now)
    if found is None:
        return redirect("panel:login")
    person, target = found
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            second_factor.accept(person, form.cleaned_data["code"], now)
        except WrongCode:
            form.add_error("code", _("This code is wrong, too old, or was used before. Wait for the next one."))
        except TooManyCodes:
            form.add_error("code", _("Too many codes were tried. Wait a few minutes."))
        else:
            return finish(request, person, target)
    return render(request, "panel/second_factor.html", {"form": form}, status=422 if form.errors else 200)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
def second_factor_set_up(request: HttpRequest) -> HttpResponse:
    """Put the secret into an app and type its first code; then the recovery codes, once."""
    now = clock.now()
    half_way = load_half_way(request, now)
    person = request.user if isinstance(request.user, User) else (half_way[0] if half_way else None)
    if person is None:
        return redirect("panel:login")
    if second_factor.is_on(person):
        return redirect("panel:account" if request.user.is_authenticated else "panel:second_factor")
    form = SetUpForm(request.POST or None, person=person, request=request)
    if request.method == "POST" and form.is_valid():
        try:
            codes = second_factor.turn_on(person, form.cleaned_data["code"], now)
        except WrongCode:
            form.add_error("code", _("This code is wrong or too old. Wait for the next one."))
        except TooManyCodes:
            form.add_error("code", _("Too many codes were tried. Wait a few minutes."))
        else:
            return _show_codes(request, person, codes, half_way[1] if half_way else "")
    secret = second_factor.begin(person, now)
    context = {
        "form": form,
        "secret": " ".join(secret[n : n + 4] for n in range(0, len(secret), 4)),
        "picture": second_factor.picture_of(person, secret),
        "is_required": second_factor.is_required(person),
    }
    return render(request, "panel/second_factor_set_up.html", context, status=422 if form.errors else 200)


def _show_codes(request: HttpRequest, person: User, codes: list[str], target: str) -> HttpResponse:
    """The recovery codes in this answer only; the person is signed in, and in no other browser."""
    if request.user.is_authenticated:
        request.session[second_factor.VERIFIED] = True
    else:
        finish(request, person, target)
    sign_ins.end_others(person, request.session.session_key, clock.now())
    return render(request, "panel/recovery_codes.html", {"codes": codes, "target": target})


class SetUpForm(CodeForm):
    """The first code; with the password where a session, that may be a stranger's, is all we know of the person."""

    def __init__(self, *args: Any, person: User, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person
        self.request = request
        if request.user.is_authenticated:
            self.fields["password"] = password_field()

    def clean_password(self) -> str:
        """The person's own."""
        return check_password(self.request, self.person, self.cleaned_data["password"])


def password_field() -> forms.CharField:
    """The person's password once more."""
    widget = forms.PasswordInput(attrs={"autocomplete": "current-password", "dir": "ltr"})
    return forms.CharField(label=gettext_lazy("Your password"), strip=False, widget=widget)


@sensitive_variables()
def check_password(request: HttpRequest, person: User, password: str) -> str:
    """The password, if it is this person's. Raises `ValidationError`; tries are limited as when signing in."""
    found = authenticate(request, username=person.get_username(), password=password)
    if found is None or found.pk != person.pk:
        raise ValidationError(_("This is not your password."))
    return password


# --- a forgotten password


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def password_forgotten(request: HttpRequest) -> HttpResponse:
    """Asks for an e-mail address; the answer is the same for everybody."""
    form = EmailForm(request.POST or None)
    is_sent = request.method == "POST" and form.is_valid()
    if is_sent:
        base = request.build_absolute_uri("/").rstrip("/")
        language = get_language() or "en"
        mails.ask_for_reset(form.cleaned_data["email"], address_of(request), base, language, clock.now())
    return render(request, "panel/password_forgotten.html", {"form": form, "is_sent": is_sent})


class NewPasswordView(PasswordResetConfirmView):
    """Behind the mailed link: a new password, and on from there as from the old one; the second factor stays."""

    template_name = "panel/password_new.html"

    def form_valid(self, form: Any) -> HttpResponse:
        """Store it, give all tries back, and ask for the second factor where it is on."""
        person, now = form.save(), clock.now()
        tries.forgive(tries.ACCOUNT, person.get_username())
        audit.record(Action.PASSWORD_RESET, person, None, now, actor=person.get_username())
        self.request.session.pop("_password_reset_token", None)
        messages.success(self.request, _("The new password is stored."))
        return go_on(self.request, person, resolve_url("panel:orders"), now)


# --- invitations


class JoinForm(PasswordMixin, forms.Form):
    """A new person: a name and a password by the usual rules."""

    username = forms.CharField(
        label=gettext_lazy("Username"),
        max_length=150,
        validators=[User.username_validator],
        widget=forms.TextInput(attrs={"dir": "auto", "autocomplete": "username", "autocapitalize": "none"}),
    )
    password1, password2 = PasswordMixin.create_password_fields()

    def clean_username(self) -> str:
        """One that nobody has, in any case of its letters."""
        name: str = User.normalize_username(self.cleaned_data["username"])
        if User.objects.filter(username__iexact=name).exists():
            raise ValidationError(_("This name is taken. Choose another one, or sign in first."))
        return name

    def clean(self) -> dict[str, Any]:
        """Both passwords are the same, and good enough."""
        super().clean()
        self.validate_passwords()
        self.validate_password_for_user(User(username=self.cleaned_data.get("username", "")))
        return self.cleaned_data


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Accept an invitation: as who is signed in, or as somebody new."""
    now = clock.now()
    invitation = invitations.find(token, now)
    if invitation is None:
        return render(request, "panel/join.html", {"invitation": None}, status=404)
    person = request.user if isinstance(request.user, User) else None
    form = None if person else JoinForm(request.POST or None)
    if request.method == "POST" and (form is None or form.is_valid()):
        try:
            return _join(request, token, person, form, now)
        except InvitationRefused as refused:
            messages.error(request, str(refused))
    context = {"invitation": invitation, "form": form, "token": token}
    return render(request, "panel/join.html", context, status=422 if form is not None and form.errors else 200)


def _join(request: HttpRequest, token: str, person: User | None, form: JoinForm | None, now: datetime) -> HttpResponse:
    if person is not None:
        invitations.accept(token, person, now)
        return redirect("panel:orders")
    typed = form.cleaned_data if form else {}
    with transaction.atomic():
        email = getattr(invitations.find(token, now), "email", "")
        person = User.objects.create_user(typed["username"], email=email, password=typed["password1"])
        invitations.accept(token, person, now)
    return go_on(request, person, resolve_url("panel:orders"), now)
