"""Tags put on, and taken off, many orders at once; and the action that takes another one back."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0025_review_snooze"),
    ]

    operations = [
        migrations.AddField(
            model_name="bulkaction",
            name="tag",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
        migrations.AddField(
            model_name="bulkaction",
            name="undoes",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="orders.bulkaction"
            ),
        ),
        migrations.AlterField(
            model_name="bulkaction",
            name="kind",
            field=models.CharField(
                choices=[
                    ("ask", "Ask again now"),
                    ("send", "Send what waits now"),
                    ("reject", "Reject before anything is sent; the money goes back"),
                    ("claim", "Work on these orders in review"),
                    ("note", "Write a note"),
                    ("tag", "Put a tag on"),
                    ("untag", "Take a tag off"),
                ],
                max_length=8,
            ),
        ),
        migrations.RemoveConstraint(model_name="bulkaction", name="bulk_kind_known"),
        migrations.AddConstraint(
            model_name="bulkaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["ask", "send", "reject", "claim", "note", "tag", "untag"])),
                name="bulk_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="bulkaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", ["tag", "untag"]), models.Q(("tag", ""), _negated=True)),
                    models.Q(models.Q(("kind__in", ["tag", "untag"]), _negated=True), ("tag", "")),
                    _connector="OR",
                ),
                name="bulk_tag_where_one_belongs",
            ),
        ),
    ]
