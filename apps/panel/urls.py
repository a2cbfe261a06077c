"""URLs of the operator pages."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from apps.panel import views

app_name = "panel"
urlpatterns = [
    path("login/", LoginView.as_view(template_name="panel/login.html", redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", views.orders, name="orders"),
    path("live/", views.orders_live, name="orders_live"),
    path("orders/<int:order_id>/", views.order, name="order"),
    path("orders/<int:order_id>/live/", views.order_live, name="order_live"),
    path("orders/<int:order_id>/ask/", views.ask, name="ask"),
    path("orders/<int:order_id>/codes/", views.reveal, name="reveal"),
]
