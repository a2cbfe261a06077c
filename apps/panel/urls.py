"""URLs of the operator pages."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from apps.panel import report_views, views, wallet_views

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
    path("orders/<int:order_id>/give-back/", views.give_back, name="give_back"),
    path("wallets/", wallet_views.wallets, name="wallets"),
    path("wallets/limit/", wallet_views.set_limit, name="set_limit"),
    path("wallets/requests/<int:request_id>/", wallet_views.decide, name="decide"),
    path("wallets/<int:customer_id>/", wallet_views.wallet, name="wallet"),
    path("wallets/<int:customer_id>/ask/", wallet_views.ask, name="wallet_ask"),
    path("wallets/<int:customer_id>/statement.csv", wallet_views.statement_file, name="statement"),
    path("provider-money/", wallet_views.floats, name="floats"),
    path("provider-money/tell/", wallet_views.tell_float, name="tell_float"),
    path("reports/profit/", report_views.profit, name="profit"),
    path("reports/profit.csv", report_views.profit_file, name="profit_file"),
    path("reports/money/", report_views.money, name="report_money"),
    path("reports/trial-balance.csv", report_views.money_file, name="report_money_file"),
]
