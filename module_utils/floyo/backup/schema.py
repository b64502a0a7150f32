"""A fingerprint of a database's structure: equal before a dump and after its restore (SQL text and pure code).

Left out: rights, owners, comments and the order of columns (a restore elsewhere or a downgrade changes them and no program
notices), what belongs to extensions, and invalid indexes (pg_dump leaves them out).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["OBJECTS_SQL", "USER_SCHEMAS", "fingerprint", "not_of_extension"]

USER_SCHEMAS = r"n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'"


def not_of_extension(catalogue: str, oid: str) -> str:
    """A condition: no extension brought the object."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{catalogue}'::regclass AND d.objid = {oid}"
        " AND d.deptype = 'e')"
    )


def _of_relation(select: str, source: str, kinds: str, more: str = "") -> str:
    return (
        f"SELECT {select} FROM {source} JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE {USER_SCHEMAS} AND c.relkind IN ({kinds}) AND {not_of_extension('pg_class', 'c.oid')}{more}"
    )


_RELATION = "format('%I.%I', n.nspname, c.relname)"
# Each part: kind, name, definition. Constants only.
OBJECTS_SQL = " UNION ALL ".join(
    (
        _of_relation(
            f"'relation' AS kind, {_RELATION} AS name, concat_ws(' | ', c.relkind, c.relpersistence,"
            " CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END, pg_get_expr(c.relpartbound, c.oid),"
            " array_to_string(c.reloptions, ','), c.relrowsecurity, c.relforcerowsecurity,"
            " (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno) FROM pg_inherits i"
            " WHERE i.inhrelid = c.oid), CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END) AS definition",
            "pg_class c",
            "'r', 'p', 'v', 'm', 'f', 'c'",
        ),
        _of_relation(
            f"'column', {_RELATION} || '.' || quote_ident(a.attname), concat_ws(' | ',"
            " format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,"
            " pg_get_expr(d.adbin, d.adrelid), (SELECT collname FROM pg_collation WHERE oid = a.attcollation))",
            "pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum",
            "'r', 'p', 'v', 'm', 'f', 'c'",
            " AND a.attnum > 0 AND NOT a.attisdropped",
        ),
        _of_relation(
            # From 18 on, NOT NULL is a constraint as well; the columns tell it for all versions.
            f"'constraint', {_RELATION} || '.' || quote_ident(k.conname), pg_get_constraintdef(k.oid)",
            "pg_constraint k JOIN pg_class c ON c.oid = k.conrelid",
            "'r', 'p', 'f'",
            " AND k.contype <> 'n'",
        ),
        _of_relation(
            f"'index', {_RELATION}, pg_get_indexdef(i.indexrelid)",
            "pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid",
            "'i', 'I'",
            " AND (i.indisvalid OR c.relkind = 'I')",
        ),
        _of_relation(
            f"'trigger', {_RELATION} || '.' || quote_ident(t.tgname), pg_get_triggerdef(t.oid) || t.tgenabled::text",
            "pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid",
            "'r', 'p', 'v', 'f'",
            " AND NOT t.tgisinternal",
        ),
        _of_relation(
            f"'rule', {_RELATION} || '.' || quote_ident(r.rulename), pg_get_ruledef(r.oid)",
            "pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class",
            "'r', 'p', 'v', 'm'",
            " AND r.rulename <> '_RETURN'",
        ),
        _of_relation(
            f"'policy', {_RELATION} || '.' || quote_ident(p.polname), concat_ws(' | ', p.polcmd, p.polpermissive,"
            " pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))",
            "pg_policy p JOIN pg_class c ON c.oid = p.polrelid",
            "'r', 'p'",
        ),
        _of_relation(
            f"'sequence', {_RELATION}, concat_ws(' | ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,"
            " s.seqmin, s.seqmax, s.seqcache, s.seqcycle)",
            "pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid",
            "'S'",
        ),
        "SELECT 'function', p.oid::regprocedure::text, CASE WHEN p.prokind = 'a' THEN pg_get_function_result(p.oid)"
        " ELSE pg_get_functiondef(p.oid) END FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        f" WHERE {USER_SCHEMAS} AND {not_of_extension('pg_proc', 'p.oid')}",
        "SELECT 'type', format('%I.%I', n.nspname, t.typname), concat_ws(' | ', t.typtype,"
        " CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END, t.typnotnull, t.typdefault,"
        " (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_enum e"
        " WHERE e.enumtypid = t.oid), (SELECT string_agg(pg_get_constraintdef(k.oid), ',' ORDER BY k.conname)"
        " FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype <> 'n'))"
        " FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace"
        f" WHERE {USER_SCHEMAS} AND t.typtype IN ('e', 'd', 'r') AND {not_of_extension('pg_type', 't.oid')}",
        f"SELECT 'schema', quote_ident(n.nspname), '' FROM pg_namespace n WHERE {USER_SCHEMAS}"
        f" AND {not_of_extension('pg_namespace', 'n.oid')}",
        "SELECT 'extension', quote_ident(extname), '' FROM pg_extension",
    )
)


def fingerprint(rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """``{"sha256": ..., "kinds": {kind: {"count": n, "sha256": ...}}}`` of rows (kind, name, definition)."""
    lines: dict[str, list[str]] = {}
    for kind, name, definition in rows:
        lines.setdefault(kind, []).append(f"{name}\0{definition or ''}\0\0")
    kinds = {kind: {"count": len(lines[kind]), "sha256": _digest(sorted(lines[kind]))} for kind in sorted(lines)}
    whole = [f"{kind}\0{facts['sha256']}" for kind, facts in kinds.items()]
    return {"sha256": _digest(whole), "kinds": kinds}


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
