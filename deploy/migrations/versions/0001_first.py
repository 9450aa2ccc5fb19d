"""The first schema: every table of schema.py, and a role that may only read them."""

from __future__ import annotations

from alembic import op

from deploy.migrations.schema import metadata

revision = "0001"
down_revision = None

# Roles belong to the whole server: another database may have made it already, and we may lack the right to.
READER = """
do $$
begin
  if not exists (select from pg_roles where rolname = 'throughline_reader') then
    begin
      create role throughline_reader nologin;
    exception
      when duplicate_object or unique_violation then null;
    end;
  end if;
  if not pg_has_role(current_user, 'throughline_reader', 'member') then
    execute format('grant throughline_reader to %I', current_user);
  end if;
  execute format('grant usage on schema %I to throughline_reader', current_schema());
  execute format('grant select on all tables in schema %I to throughline_reader', current_schema());
  execute format(
    'alter default privileges in schema %I grant select on tables to throughline_reader', current_schema());
exception
  when insufficient_privilege then
    raise notice 'no role throughline_reader: the metrics service reads as the user that it connects as';
end $$
"""
NO_READER = """
do $$
begin
  execute format(
    'alter default privileges in schema %I revoke select on tables from throughline_reader', current_schema());
exception
  when undefined_object then null;
end $$
"""


def upgrade() -> None:
    metadata.create_all(op.get_bind())
    op.execute(READER)


def downgrade() -> None:
    op.execute(NO_READER)
    metadata.drop_all(op.get_bind())
