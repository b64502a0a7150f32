"""Revisions as people write them, and what each must be called. Nothing dangerous may be called expand."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from ansible.module_utils.floyo.errors import Unusable
from ansible.module_utils.floyo.migrations.classify import Classification, classify
from ansible.module_utils.floyo.migrations.sql import sql_statements

HEAD = """
from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
revision = "a1"
down_revision = None
"""


def judge(upgrade: str, downgrade: str = "pass", extra: str = "") -> Classification:
    def indented(code: str) -> str:
        return "\n".join("    " + line for line in code.strip("\n").splitlines())

    source = f"{HEAD}{extra}\ndef upgrade():\n{indented(upgrade)}\n\ndef downgrade():\n{indented(downgrade)}\n"
    return classify(ast.parse(source))


CORPUS = [
    # --- additive: an older release does not notice
    (
        "expand",
        "op.create_table('t', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('n', sa.Text()))",
    ),
    ("expand", "op.create_table('t', sa.Column('id', sa.Integer()))\nop.create_index('i', 't', ['id'], unique=True)"),
    (
        "expand",
        "op.create_table('t', sa.Column('id', sa.Integer()))\nop.create_foreign_key('f', 't', 'users', ['id'], ['id'])",
    ),
    ("expand", "t = op.create_table('t', sa.Column('id', sa.Integer()))\nop.bulk_insert(t, [{'id': 1}])"),
    ("expand", "op.add_column('t', sa.Column('n', sa.String(20)))"),
    ("expand", "op.add_column('t', sa.Column('n', sa.String(20), nullable=True))"),
    ("expand", "op.add_column('t', sa.Column('n', sa.Boolean(), nullable=False, server_default=sa.false()))"),
    ("expand", "op.add_column('t', sa.Column('n', sa.Integer(), nullable=False, server_default='0'))"),
    (
        "expand",
        "op.add_column('t', sa.Column('n', postgresql.JSONB(), server_default=sa.text(\"'{}'::jsonb\")))",
    ),
    ("expand", "op.add_column('t', sa.Column('at', sa.DateTime(), nullable=False, server_default=sa.func.now()))"),
    (
        "expand",
        "with op.batch_alter_table('t') as b:\n    b.add_column(sa.Column('n', sa.Text(), nullable=True))",
    ),
    ("expand", "op.create_index(op.f('ix_t_n'), 't', ['n'], unique=False)"),
    (
        "expand",
        "with op.get_context().autocommit_block():\n    op.create_index('i', 't', ['n'], postgresql_concurrently=True)",
    ),
    ("expand", "op.execute('CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (n)')"),
    ("expand", "op.execute('ALTER TABLE t ADD COLUMN n integer DEFAULT 0 NOT NULL')"),
    ("expand", "op.execute('''ALTER TABLE t ADD COLUMN IF NOT EXISTS \"n\" numeric(10,2), ADD m text;''')"),
    ("expand", "op.execute('CREATE TABLE IF NOT EXISTS x (id int PRIMARY KEY, n text UNIQUE)')"),
    ("expand", "op.execute(\"COMMENT ON TABLE t IS 'DROP TABLE t;'\")"),
    (
        "expand",
        "mood = postgresql.ENUM('a', name='mood')\nmood.create(op.get_bind())\nop.add_column('t', sa.Column('m', mood))",
    ),
    ("expand", "op.alter_column('t', 'n', server_default='x', existing_type=sa.Text())"),
    ("expand", "op.create_table_comment('t', 'what it is')"),
    ("expand", "op.execute(\"SET lock_timeout = '2s'\")\nop.add_column('t', sa.Column('n', sa.Text()))"),
    ("expand", "op.execute('ALTER TABLE t VALIDATE CONSTRAINT c')"),
    ("expand", "pass"),
    # --- an older release may fail, or something is gone
    ("contract", "op.drop_table('t')"),
    ("contract", "op.drop_column('t', 'n')"),
    ("contract", "with op.batch_alter_table('t') as b:\n    b.drop_column('n')"),
    ("contract", "op.drop_index('i', table_name='t')"),
    ("contract", "op.drop_constraint('c', 't', type_='unique')"),
    ("contract", "op.add_column('t', sa.Column('n', sa.Integer(), nullable=False))"),
    ("contract", "op.add_column('t', sa.Column('n', sa.Integer(), unique=True))"),
    ("contract", "op.alter_column('t', 'n', nullable=False, existing_type=sa.Text())"),
    ("contract", "op.alter_column('t', 'n', type_=sa.BigInteger(), existing_type=sa.Integer())"),
    ("contract", "op.alter_column('t', 'n', new_column_name='m')"),
    ("contract", "op.alter_column('t', 'n', server_default=None)"),
    ("contract", "op.rename_table('t', 'u')"),
    ("contract", "op.create_unique_constraint('u', 't', ['n'])"),
    ("contract", "op.create_index('i', 't', ['n'], unique=True)"),
    ("contract", "op.create_foreign_key('f', 't', 'users', ['user_id'], ['id'])"),
    ("contract", "op.create_check_constraint('c', 't', 'n > 0')"),
    ("contract", "op.execute('ALTER TABLE t ALTER COLUMN n SET NOT NULL')"),
    ("contract", "op.execute('ALTER TABLE t ADD n integer NOT NULL')"),
    ("contract", "op.execute('ALTER TABLE t ADD COLUMN a text, DROP COLUMN b')"),
    ("contract", "op.execute('alter table t rename column a to b')"),
    ("contract", "op.execute('-- tidy\\nDROP TABLE IF EXISTS t')"),
    ("contract", "op.execute('SELECT 1; TRUNCATE t')"),
    ("contract", "op.execute(f'DROP TABLE {name}')"),
    ("contract", "op.execute('CREATE UNIQUE INDEX CONCURRENTLY i ON t (n)')"),
    ("contract", "for table in ('a', 'b'):\n    op.drop_column(table, 'n')"),
    ("contract", "sa.Enum(name='mood').drop(op.get_bind())"),
    ("contract", "op.execute(sa.schema.DropSequence(sa.Sequence('s')))"),
    ("contract", "conn = op.get_bind()\nconn.execute(sa.text('DROP VIEW v'))"),
    ("contract", "op.execute('REVOKE SELECT ON t FROM reader')"),
    # --- rows change
    ("data", "op.execute('UPDATE t SET n = 1 WHERE n IS NULL')"),
    ("data", "op.get_bind().execute(sa.text('INSERT INTO t (n) VALUES (1)'))"),
    ("data", "t = sa.table('t', sa.column('n'))\nop.execute(t.update().values(n=1))"),
    ("data", "t = sa.table('t', sa.column('n'))\nop.bulk_insert(t, [{'n': 1}])"),
    ("data", "op.execute('WITH old AS (SELECT 1) DELETE FROM t USING old')"),
    # --- cannot be known
    ("unknown", "for table in TABLES:\n    op.add_column(table, sa.Column('n', sa.Text()))"),
    ("unknown", "if op.get_bind().dialect.name == 'postgresql':\n    op.create_table('t')"),
    ("unknown", "add_audit_columns('t')"),
    ("unknown", "op.execute(open('schema.sql').read())"),
    ("unknown", "op.execute('CREATE OR REPLACE FUNCTION f() RETURNS int AS $$ SELECT 1; DROP $$ LANGUAGE sql')"),
    ("unknown", "op.execute('DO $$ BEGIN EXECUTE 1; END $$')"),
    ("unknown", "op.execute(\"ALTER TYPE mood ADD VALUE 'new'\")"),
    ("unknown", "op.alter_column('t', 'n', nullable=True)"),
    (
        "unknown",
        "op.add_column('t', sa.Column('u', sa.Uuid(), nullable=False, server_default=sa.text('gen_random_uuid()')))",
    ),
    ("unknown", "op.add_column('t', sa.Column('n', sa.Integer(), sa.Computed('a + b')))"),
    ("unknown", "op.add_column('t', sa.Column('n', sa.Text(), **OPTIONS))"),
    ("unknown", "op.add_column('t', make_column())"),
    (
        "unknown",
        "from sqlalchemy.orm import Session\nsession = Session(bind=op.get_bind())\nsession.query(User).delete()",
    ),
    ("unknown", "sa.orm.Session(op.get_bind()).query(User).update({})"),
    ("unknown", "op.run_async(work)"),
    ("unknown", "metadata = sa.MetaData()\nmetadata.create_all(op.get_bind())"),
    ("unknown", "op.execute('SELECT clean_up_everything()')"),
    ("unknown", "op.execute('CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f()')"),
    ("unknown", "op.create_index('i', 't', ['n'], unique=UNIQUE)"),
    ("unknown", "import os\nos.system('psql -f drop.sql')"),
]


@pytest.mark.parametrize(("expected", "upgrade"), CORPUS, ids=[code.replace("\n", " ")[:60] for _, code in CORPUS])
def test_corpus(expected: str, upgrade: str) -> None:
    verdict = judge(upgrade, downgrade="op.drop_table_comment('t')\nop.create_table('gone')")
    assert verdict.kind == expected, verdict
    if expected != "expand":
        assert verdict.reasons


def test_corpus_is_large_enough_and_covers_every_class() -> None:
    assert len(CORPUS) >= 60
    assert {kind for kind, _ in CORPUS} == {"expand", "contract", "data", "unknown"}


# What would slip past a reader of calls that looks less closely.
SMUGGLED = [
    "sql = \"COMMENT ON TABLE t IS 'x'\"\nif x:\n    sql = 'DROP TABLE t'\nop.execute(sql)",
    "sql = \"COMMENT ON TABLE t IS 'x'\"\nfor sql in STATEMENTS:\n    op.execute(sql)",
    "sql = \"COMMENT ON TABLE t IS 'x'\"\nsql += '; DROP TABLE t'\nop.execute(sql)",
    "sql = \"COMMENT ON TABLE t IS 'x'\"\n(sql := 'DROP TABLE t')\nop.execute(sql)",
    "from app import sql\nop.execute(sql)",
    "x = 0\nx += op.drop_table('t')",
    "assert op.drop_table('t') is None",
    "if x:\n    return op.drop_table('t')",
    "match x:\n    case 1:\n        op.drop_table('t')",
    "try:\n    pass\nfinally:\n    op.drop_table('t')",
    "class Work:\n    op.drop_table('t')",
    "def print():\n    op.drop_table('t')\nprint()",
    "def helper():\n    op.drop_table('t')\nhelper()",
    "f = lambda: op.drop_table('t')\nf()",
    "wipe().strip()",
    "blog.info()",
    "op.create_table('t', *wipe())",
    "op.add_column('t', sa.Column('n', sa.Integer(), server_default=wipe()))",
    "op.create_table(name, sa.Column('i', sa.Integer()))\nop.alter_column(other, 'n', nullable=False)",
    "op.create_table('t', schema='x')\nop.alter_column('t', 'n', nullable=False)",
    "op.create_table('t', if_not_exists=True)\nop.alter_column('t', 'n', nullable=False)",
    "op.execute('CREATE TABLE IF NOT EXISTS t (i int)')\nop.execute('ALTER TABLE t ALTER n SET NOT NULL')",
    "op.alter_column('t', 'n', False)",
    "op.create_index('i', 't', ['n'], None, True)",
    "op.create_index(*ARGUMENTS)",
    "op.execute(\"SELECT 1 WHERE 'a' LIKE'\\\\'; DROP TABLE t; --'\")",
    "op.execute('COMMENT ON TABLE a$x$ IS NULL; DROP TABLE t; COMMENT ON TABLE b$x$ IS NULL')",
    "op.execute(CreateSequence('s'))",
    "op.add_column('t', sa.Column('n', sa.Integer(), nullable=False, server_default=sa.null()))",
    "op.execute('ALTER TABLE t ADD n int NOT NULL DEFAULT NULL')",
    "sa.create_engine(URL).execute('x')",
    "sa.event.listen(a, 'b', c)",
]


@pytest.mark.parametrize("upgrade", SMUGGLED, ids=[code.replace("\n", " ")[:60] for code in SMUGGLED])
def test_nothing_slips_past(upgrade: str) -> None:
    assert judge(upgrade, "op.create_table('gone')").kind != "expand"


@pytest.mark.parametrize(
    "source",
    [
        "from app.migrations import upgrade, downgrade",
        "async def upgrade():\n    op.drop_table('t')",
        "def upgrade(x=op.drop_table('t')):\n    pass",
        "def upgrade():\n    pass\nupgrade = other",
        "def upgrade():\n    op.execute(SQL)\nSQL = \"COMMENT ON TABLE t IS 'x'\"\nif X:\n    SQL = 'DROP TABLE t'",
        "class Work:\n    op.drop_table('t')\ndef upgrade():\n    pass",
        "if X:\n    def upgrade():\n        op.drop_table('t')",
    ],
)
def test_an_upgrade_that_is_made_elsewhere_is_unknown(source: str) -> None:
    assert classify(ast.parse(f"{HEAD}\n{source}\n")).kind != "expand"


@pytest.mark.parametrize(
    ("upgrade", "downgrade", "kind", "way_back"),
    [
        ("op.create_table('t')", "op.drop_table('t')", "expand", "lossy"),
        ("op.create_index('i', 't', ['n'])", "op.drop_index('i', 't')", "expand", "clean"),
        ("op.create_table('t')", "pass", "expand", "noop"),
        ("op.create_table('t')", "raise NotImplementedError('no way back')", "expand", "irreversible"),
        ("op.drop_table('t')", "raise NotImplementedError", "irreversible", "irreversible"),
        ("op.drop_table('t')", "pass", "irreversible", "noop"),
        ("op.drop_column('t', 'n')", "op.add_column('t', sa.Column('n', sa.Text()))", "contract", "clean"),
        ("op.execute('UPDATE t SET n = 1')", "pass", "data", "noop"),
        ("op.execute('UPDATE t SET n = 1')", "raise RuntimeError", "irreversible", "irreversible"),
        ("op.create_table('t')", "restore_everything()", "expand", "unknown"),
        ("op.create_table('t')", "if x:\n    raise RuntimeError\nop.drop_table('t')", "expand", "unknown"),
        (
            "op.alter_column('t', 'n', new_column_name='m')",
            "op.alter_column('t', 'm', new_column_name='n')",
            "contract",
            "clean",
        ),
        (
            "op.alter_column('t', 'n', type_=sa.BigInteger())",
            "op.alter_column('t', 'n', type_=sa.Integer())",
            "contract",
            "lossy",
        ),
        ("pass", "pass", "expand", "clean"),
    ],
)
def test_the_way_back(upgrade: str, downgrade: str, kind: str, way_back: str) -> None:
    verdict = judge(upgrade, downgrade)
    assert (verdict.kind, verdict.downgrade) == (kind, way_back)


def test_what_is_lost_is_named() -> None:
    verdict = judge("op.drop_column('orders', 'note')", "op.drop_table('audit')")
    assert verdict.drops == ["column orders.note"]
    assert verdict.downgrade_loses == ["table audit"]


def test_a_file_without_downgrade_has_no_way_back() -> None:
    assert classify(ast.parse(f"{HEAD}\ndef upgrade():\n    op.create_table('t')\n")).downgrade == "irreversible"


def test_the_marker_wins_over_the_rules() -> None:
    assert judge("op.create_table('t')", extra="floyo_class = 'contract'").kind == "contract"
    assert judge("helper()", extra="floyo_class: str = 'expand'").kind == "expand"


def test_a_wrong_marker_is_refused() -> None:
    with pytest.raises(Unusable, match="floyo_class in line"):
        judge("pass", extra="floyo_class = 'harmless'")


@pytest.mark.parametrize(
    "extra",
    [
        "op = Fake()",
        "def op(): pass",
        "op.drop_table('t')",
        "if True:\n    do_it()",
        "from alembic import op as other\nother.x = 1",
    ],
)
def test_code_outside_upgrade_is_not_trusted(extra: str) -> None:
    assert judge("op.create_table('t')", extra=extra).kind != "expand"


def test_operations_imported_by_name_are_seen() -> None:
    assert judge("drop_table('t')", "create_all()", extra="from alembic.op import drop_table").kind == "contract"


def test_autocommit_is_noticed() -> None:
    assert judge("with op.get_context().autocommit_block():\n    op.create_index('i', 't', ['n'])").autocommit
    assert not judge("op.create_index('i', 't', ['n'])").autocommit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';' ; -- DROP\nSELECT 2", ["SELECT ''", "SELECT 2"]),
        ("SELECT $x$ a; b $x$", ["SELECT ''"]),
        ("SELECT E'it\\'s; fine'", ["SELECT ''"]),
        ('/* a; */ SELECT "a;b"', ['SELECT "a;b"']),
        ("", []),
    ],
)
def test_statements(text: str, expected: list[Any]) -> None:
    assert sql_statements(text) == expected
