"""Visits are stored as they are: to compress all of a long journey's again with each of its touchpoints cost more than
their pages do."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("alter table journeys alter column visits set storage external")


def downgrade() -> None:
    op.execute("alter table journeys alter column visits set storage extended")
