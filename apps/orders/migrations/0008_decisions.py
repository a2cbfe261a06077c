"""What people decide: who closed a case and why, requests for a second person, a route for once; codes leave quarantine."""

from collections.abc import Callable

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from apps.common.triggers import Forbid

WHAT_IT_IS = (
    "OLD.order_id <> NEW.order_id OR OLD.attempt_id <> NEW.attempt_id OR OLD.blind_index <> NEW.blind_index "
    "OR OLD.created_at <> NEW.created_at"
)
CODE_CHANGED = f"{WHAT_IT_IS} OR OLD.is_quarantined <> NEW.is_quarantined"
BEFORE = Forbid("orders_code", "UPDATE", "orders_code is append-only but for its ciphertext", CODE_CHANGED)
AFTER = Forbid("orders_code", "UPDATE", "orders_code is append-only but for its ciphertext and quarantine", WHAT_IT_IS)


def replace(old: Forbid, new: Forbid) -> Callable[[StateApps, BaseDatabaseSchemaEditor], None]:
    """A person may let a code out of quarantine, or put it there: nothing else about it changes."""

    def run(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        vendor = editor.connection.vendor
        for statement in [*old.drop(vendor), *new.create(vendor)]:
            editor.execute(statement, params=None)

    return run


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0007_ladder"),
        ("providers", "0010_stock"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Approval",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("release", "give the money back"),
                            ("stop_waiting", "stop waiting for the provider"),
                            ("deliver", "deliver by hand"),
                            ("resolve", "settle a contradiction"),
                            ("accept_late", "charge for a late delivery"),
                            ("reverse", "give back what the provider took back"),
                            ("give_back", "give back the money of a delivered order"),
                        ],
                        max_length=16,
                    ),
                ),
                ("choice", models.CharField(blank=True, default="", max_length=16)),
                ("sealed_entry", models.TextField(blank=True, default="")),
                ("amount_micros", models.BigIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("reason", models.CharField(max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "waits for a second person"), ("done", "done"), ("declined", "declined")],
                        max_length=8,
                    ),
                ),
                ("is_single", models.BooleanField(default=False)),
                ("asked_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "orders_approval",
            },
        ),
        migrations.AddField(
            model_name="case",
            name="close_reason",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="case",
            name="closed_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="case",
            name="resolution",
            field=models.CharField(
                blank=True,
                choices=[
                    ("charged", "the customer paid again"),
                    ("given_back", "the customer got the money back"),
                    ("codes_released", "the codes were let out of quarantine"),
                    ("left", "left as it is"),
                ],
                default="",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="case",
            name="snoozed_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="order",
            name="next_route",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="providers.route",
            ),
        ),
        migrations.AddConstraint(
            model_name="case",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("close_reason", ""),
                        ("closed_at__isnull", True),
                        ("closed_by__isnull", True),
                        ("resolution", ""),
                    ),
                    models.Q(
                        ("closed_at__isnull", False),
                        ("closed_by__isnull", False),
                        models.Q(("close_reason", ""), _negated=True),
                        models.Q(("resolution", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="case_closed_by_somebody_for_a_reason",
            ),
        ),
        migrations.AddField(
            model_name="approval",
            name="asked_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="approval",
            name="attempt",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="approvals", to="orders.attempt"
            ),
        ),
        migrations.AddField(
            model_name="approval",
            name="case",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="orders.case"
            ),
        ),
        migrations.AddField(
            model_name="approval",
            name="decided_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="approval",
            name="order",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="approvals", to="orders.order"
            ),
        ),
        migrations.AddConstraint(
            model_name="approval",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "pending")),
                fields=("order", "action"),
                name="approval_one_pending_per_action",
            ),
        ),
        migrations.AddConstraint(
            model_name="approval",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["pending", "done", "declined"])), name="approval_status_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="approval",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True), name="approval_has_a_reason"
            ),
        ),
        migrations.AddConstraint(
            model_name="approval",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "done"), _negated=True),
                    ("is_single", True),
                    models.Q(("decided_by", models.F("asked_by")), _negated=True),
                    _connector="OR",
                ),
                name="approval_done_by_another",
            ),
        ),
        migrations.AddConstraint(
            model_name="approval",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at__isnull", True), ("decided_by__isnull", True), ("status", "pending")),
                    models.Q(
                        ("decided_at__isnull", False),
                        ("decided_by__isnull", False),
                        models.Q(("status", "pending"), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="approval_pending_is_undecided",
            ),
        ),
        migrations.RunPython(replace(BEFORE, AFTER), replace(AFTER, BEFORE)),
    ]
