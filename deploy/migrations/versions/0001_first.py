"""The first schema: every table of shared/tables.py, and element-wise sums for the rollups."""

from __future__ import annotations

from alembic import op

from shared.tables import metadata

revision = "0001"
down_revision = None

ADD_COUNTS = """
create function add_counts(a bigint[], b bigint[]) returns bigint[]
language sql immutable parallel safe as $$
  select array_agg(coalesce(x, 0) + coalesce(y, 0) order by place)
  from unnest(a, b) with ordinality as sums (x, y, place)
$$
"""


def upgrade() -> None:
    metadata.create_all(op.get_bind())
    op.execute(ADD_COUNTS)


def downgrade() -> None:
    op.execute("drop function add_counts")
    metadata.drop_all(op.get_bind())
