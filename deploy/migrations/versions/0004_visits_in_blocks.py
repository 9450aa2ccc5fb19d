"""Old visits lie in blocks of their own: to write all of a long journey again with each of its touchpoints cost more
than everything else. Journeys of before get theirs when they are written next."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """On a new database the first revision has made both already, since it makes the tables of schema.py."""
    op.execute("alter table journeys add column if not exists sealed integer not null default 0")
    op.execute(
        "create table if not exists visit_blocks "
        "(journey_id uuid, first integer, visits bytea not null, primary key (journey_id, first))"
    )


def downgrade() -> None:
    """Journeys keep their last visits only: `throughline replay` brings the others back."""
    op.execute("drop table visit_blocks")
    op.execute("alter table journeys drop column sealed")
