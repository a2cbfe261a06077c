"""URLs of the operator pages."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from apps.panel import by_hand, catalogue_views, provider_views, report_views, shelves, views, wallet_views

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
    path("providers/", provider_views.providers, name="providers"),
    path("providers/<int:account_id>/", provider_views.provider, name="provider"),
    path("providers/<int:account_id>/live/", provider_views.provider_live, name="provider_live"),
    path("providers/<int:account_id>/watch/", provider_views.provider_watch, name="provider_watch"),
    path("providers/<int:account_id>/resume/", provider_views.provider_resume, name="provider_resume"),
    path("providers/<int:account_id>/diagnose/", provider_views.provider_diagnose, name="provider_diagnose"),
    path("providers/<int:account_id>/webhooks/", provider_views.provider_hook_rotate, name="provider_hook_rotate"),
    path("providers/<int:account_id>/sync/", provider_views.provider_sync, name="provider_sync"),
    path("providers/<int:account_id>/items/", provider_views.provider_items, name="provider_items"),
    path("providers/<int:account_id>/changes/", provider_views.provider_changes, name="provider_changes"),
    path(
        "providers/<int:account_id>/changes/decide/",
        provider_views.provider_changes_decide,
        name="provider_changes_decide",
    ),
    path(
        "providers/<int:account_id>/changes/<int:change_id>/approve/",
        provider_views.provider_change_approve,
        name="provider_change_approve",
    ),
    path("catalogue/", catalogue_views.catalogue, name="catalogue"),
    path("catalogue/<int:package_id>/at/<int:account_id>/", catalogue_views.mapping, name="mapping"),
    path("catalogue/files/", catalogue_views.sheets, name="sheets"),
    path("catalogue/files/import/", catalogue_views.sheet_import, name="sheet_import"),
    path("catalogue/files/<slug:name>.csv", catalogue_views.sheet_export, name="sheet_export"),
    path("by-hand/", by_hand.tasks, name="tasks"),
    path("by-hand/<int:attempt_id>/", by_hand.task, name="task"),
    path("by-hand/<int:attempt_id>/claim/", by_hand.claim, name="task_claim"),
    path("by-hand/<int:attempt_id>/deliver/", by_hand.deliver, name="task_deliver"),
    path("by-hand/<int:attempt_id>/refuse/", by_hand.refuse, name="task_refuse"),
    path("stock/", shelves.shelves, name="stock"),
    path("stock/threshold/", shelves.threshold, name="stock_threshold"),
    path("stock/import/", shelves.add_codes, name="stock_import"),
]
