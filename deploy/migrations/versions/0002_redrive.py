"""Dead letters can be judged again, sealed, and limited by age and size."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

ADDED = {
    "dead_letters": {
        "received_at": "bigint", "request": "text not null default ''", "sealed": "boolean not null default false",
        "redriven_at": "bigint", "outcome": "text",
    },
    "dead_letter_counts": {"kept": "bigint not null default 0", "bytes": "bigint not null default 0"},
}  # fmt: skip
COUNT = """
    update dead_letter_counts c set kept = d.n, bytes = d.bytes
    from (
        select topic, source, reason, count(*) as n, sum(octet_length(data) + octet_length(request)) as bytes
        from dead_letters group by topic, source, reason
    ) as d
    where (c.topic, c.source, c.reason) = (d.topic, d.source, d.reason)
"""


def upgrade() -> None:
    """On a new database the first revision has made the columns already, since it makes the tables of schema.py."""
    for table, columns in ADDED.items():
        for name, kind in columns.items():
            op.execute(f"alter table {table} add column if not exists {name} {kind}")
    op.execute(COUNT)


def downgrade() -> None:
    for table, columns in ADDED.items():
        for name in columns:
            op.execute(f"alter table {table} drop column {name}")
