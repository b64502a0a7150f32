"""What the counters and catalogues of a database say, as verdicts (pure, standard library only).

A verdict is worth what it stands on: how long was counted, how much, and what could not be seen. Nothing here proposes to
drop or rewrite; it says what to look at next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional

from ..finding import Finding
from .activity import flatten

__all__ = [
    "LIMITS",
    "autovacuum",
    "bloat",
    "blocking",
    "cache_hit",
    "connections",
    "long_running",
    "megabytes",
    "period",
    "sequences",
    "wraparound",
]  # fmt: skip

LIMITS: dict[str, float] = {
    "connections_warn": 70,
    "connections_fail": 90,
    "blocked_warn": 5,
    "blocked_fail": 30,
    "long_after": 300,
    "idle_after": 60,
    "mean_ms_warn": 100,
    "mean_ms_fail": 1000,
    "min_calls": 10,
    "cache_hit_warn": 99,
    "cache_hit_fail": 90,
    "wraparound_warn": 25,
    "wraparound_fail": 50,
    "sequence_warn": 70,
    "sequence_fail": 90,
    "bloat_warn": 40,
    "bloat_min_mb": 10,
    "unused_days": 14,
    "index_min_mb": 1,
    "missing_rows": 10000,
}
Limits = Mapping[str, float]
_KILL = "ansible-playbook playbooks/database_kill.yml --check"
_BLOCKS = 10_000
_XIDS = 2**31


def period(seconds: Optional[float]) -> str:
    if seconds is None:
        return "since the start, nobody knows when"
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def megabytes(size: Optional[float]) -> str:
    mega = (size or 0) / 1048576
    return f"{mega / 1024:.1f} GB" if mega >= 1024 else f"{mega:.1f} MB"


def _level(value: float, warn: float, fail: float) -> str:
    return "fail" if value >= fail else "warn" if value >= warn else "pass"


# --- now -------------------------------------------------------------------------------------------------------------


def connections(facts: Mapping[str, Any], states: Mapping[str, int], limits: Limits) -> Iterator[Finding]:
    used, room = sum(states.values()), facts["max_connections"] - facts["reserved"]
    share = round(100 * used / room, 1) if room > 0 else 100.0
    verdict = _level(share, limits["connections_warn"], limits["connections_fail"])
    said = ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=lambda item: -item[1]))
    yield Finding(
        "connections", verdict, f"{used} of {room} connections in use" + (f" ({said})" if said else ""), value=share,
        threshold=f"below {limits['connections_fail' if verdict == 'fail' else 'connections_warn']:g} %",
        next_step="" if verdict == "pass" else "the table by client says who; smaller pools (DATABASE_POOL_SIZE), or "
        "floyo_postgres_max_connections and playbooks/provision.yml",
    )  # fmt: skip


def blocking(roots: Sequence[Mapping[str, Any]], limits: Limits) -> Iterator[Finding]:
    if not roots:
        yield Finding("blocking", "pass", "nobody waits for a lock", threshold=f"{limits['blocked_warn']:g} s")
    for root in roots:
        waiting = [session for depth, session in flatten([root]) if depth]
        longest = max([session["waits"] for session in waiting] + ([root["waits"]] if root["circular"] else []))
        who = f"pid {root['pid']}" if root["pid"] else "a prepared transaction"
        what = "waits in a circle with" if root["circular"] else "keeps waiting"
        said = f"{who} ({root['state']}) {what} {len(waiting)} sessions, the longest for {longest:.0f} s"
        if not root["pid"]:
            step = "SELECT gid, owner, prepared FROM pg_prepared_xacts; then COMMIT PREPARED or ROLLBACK PREPARED"
        elif root["session"].startswith("?"):
            step = "GRANT pg_monitor to this account, which may not see whose session that is; then look again"
        else:
            step = f'{_KILL} -e \'{{"floyo_observe_kill_sessions": ["{root["session"]}"]}}\''
        # Where statements have short timeouts nobody waits for long; the next ones wait in their place.
        stuck = max(longest, root["transaction"]) if len(waiting) > 1 else longest
        if stuck > longest:
            said += f"; its transaction is open for {stuck:.0f} s"
        verdict = _level(stuck, limits["blocked_warn"], limits["blocked_fail"])
        yield Finding(
            "blocking", verdict, said, object=root["session"], value=stuck, next_step="" if verdict == "pass" else step,
            threshold=f"below {limits['blocked_fail' if verdict == 'fail' else 'blocked_warn']:g} s",
        )  # fmt: skip


def long_running(rows: Sequence[Mapping[str, Any]], limits: Limits, *, sees_all: bool) -> Iterator[Finding]:
    """``rows`` are sessions as ``activity.shown`` gives them."""
    for row in rows:
        idle = row["state"].startswith("idle in transaction")
        limit = limits["idle_after"] if idle else limits["long_after"]
        if row["seconds"] < limit:
            continue
        what = "keeps a transaction open and does nothing" if idle else "runs one statement"
        yield Finding(
            "idle_in_transaction" if idle else "long_query", "warn",
            f"pid {row['pid']} ({row['user']}, {row['application'] or 'unnamed'}) {what} for {period(row['seconds'])}",
            object=row["session"], value=row["seconds"], threshold=f"{limit:g} s",
            next_step=f"{_KILL} -e '{{\"floyo_observe_kill_sessions\": [\"{row['session']}\"]}}'",
        )  # fmt: skip
    if not sees_all:
        yield Finding(
            "rights", "inconclusive", "states and statements of other accounts are hidden from this one", confidence="low",
            threshold="pg_read_all_stats", next_step="grant pg_monitor to the account (playbooks/provision.yml does)",
        )  # fmt: skip


# --- counted ---------------------------------------------------------------------------------------------------------


def cache_hit(
    now: Mapping[str, Any], before: Optional[Mapping[str, Any]], seconds: Optional[float], limits: Limits
) -> Iterator[Finding]:
    hit, read = now["blks_hit"], now["blks_read"]
    recent = before is not None
    if before is not None:
        hit, read = hit - before["blks_hit"], read - before["blks_read"]
    total = hit + read
    sample = f"{total} blocks in {period(seconds)}"
    threshold = f"at least {limits['cache_hit_warn']:g} %"
    if total < _BLOCKS or hit < 0 or read < 0:
        yield Finding(
            "cache_hit", "inconclusive", "too few blocks were read to judge by", threshold=threshold, sample=sample,
            confidence="low", next_step="look again under the usual load",
        )  # fmt: skip
        return
    rate = round(100 * hit / total, 2)
    verdict = "pass" if rate >= limits["cache_hit_warn"] else "warn" if rate >= limits["cache_hit_fail"] else "fail"
    yield Finding(
        "cache_hit", verdict, f"{rate:g} % of blocks came from PostgreSQL's own memory; the system's cache is not counted",
        value=rate, threshold=threshold, sample=sample, confidence="high" if recent else "medium",
        next_step="" if verdict == "pass" else "which statements read most: playbooks/database_slow_queries.yml; "
        "then floyo_postgres_shared_buffers_mb",
    )  # fmt: skip


def autovacuum(tables: Iterable[Mapping[str, Any]], facts: Mapping[str, Any], limits: Limits) -> Iterator[Finding]:
    if not facts["autovacuum"] or not facts["track_counts"]:
        yield Finding(
            "autovacuum", "fail", "autovacuum is off: tables grow, and in the end the server stops for wraparound",
            value="off", threshold="on", next_step="ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on;"
            " SELECT pg_reload_conf()",
        )  # fmt: skip
    behind = 0
    for table in tables:
        options = dict(option.split("=", 1) for option in table["options"] or [])
        name, dead = table_name(table), table["dead"]
        threshold = float(options.get("autovacuum_vacuum_threshold", facts["vacuum_threshold"]))
        threshold += float(options.get("autovacuum_vacuum_scale_factor", facts["vacuum_scale"])) * max(table["live"], 0)
        off = options.get("autovacuum_enabled", "true").lower() in ("false", "off", "0", "no")
        # Twice the number at which it should have come: it is late, and not just about to come.
        late = dead > 2 * threshold and dead > 10_000
        if not late and not off:
            continue
        behind += 1
        last = period(facts["now"] - table["vacuumed"]) + " ago" if table["vacuumed"] else "never"
        share = round(100 * dead / max(dead + table["live"], 1), 1)
        yield Finding(
            "autovacuum", "warn",
            f"{name} has {dead} dead rows ({share:g} %), last vacuumed {last}" + (", and autovacuum is off for it" if off else ""),
            object=name, value=dead, threshold=f"{threshold:.0f} dead rows", sample="counted since the last vacuum",
            confidence="medium",
            next_step=f"VACUUM (ANALYZE) {name}; who keeps old rows alive is in the table of wraparound"
            if late else f"ALTER TABLE {name} RESET (autovacuum_enabled)",
        )  # fmt: skip
    if not behind and facts["autovacuum"] and facts["track_counts"]:
        yield Finding("autovacuum", "pass", "no table waits for a vacuum", value=0)


def wraparound(
    databases: Sequence[Mapping[str, Any]],
    holders: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    limits: Limits,
) -> Iterator[Finding]:
    """How far the oldest row is on its way to the end of transaction numbers, and who keeps it there."""
    for kind in ("xid_age", "mxid_age"):
        worst = max(databases, key=lambda row: row[kind], default=None)
        if worst is None:
            continue
        share = round(100 * worst[kind] / _XIDS, 1)
        # A server may be told to freeze late: not before that is it overdue.
        usual = 100 * facts["freeze_max_age"] / _XIDS
        warn = max(limits["wraparound_warn"], usual * 1.25)
        verdict = _level(share, warn, max(limits["wraparound_fail"], warn))
        name = "transactions" if kind == "xid_age" else "multixacts"
        yield Finding(
            "wraparound", verdict, f"{name}: {worst[kind]} ago the oldest was frozen, in database {worst['database']}",
            object=worst["database"], value=share, threshold=f"below {warn:.0f} % of the way",
            next_step="" if verdict == "pass" else f"VACUUM (FREEZE, VERBOSE) in {worst['database']}, its oldest tables first; "
            "end what holds it back (below)",
        )  # fmt: skip
    for holder in holders:
        if (holder["age"] or 0) > facts["freeze_max_age"] / 4:
            yield Finding(
                "oldest_snapshot", "warn", f"{holder['holder']} keeps rows of {holder['age']} transactions ago from going",
                object=holder["holder"], value=holder["age"], threshold=f"{facts['freeze_max_age'] // 4} transactions",
                next_step="end it: playbooks/database_kill.yml for a session, pg_drop_replication_slot for a slot nobody reads",
            )  # fmt: skip


_COLUMN_LIMITS = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


def sequence_rows(sequences: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How much of each is used up, by its own end or that of the column that it fills, whichever comes first."""
    found = []
    for row in sequences:
        if not row["readable"] or row["last"] is None or row["cycles"]:
            continue
        if row["step"] > 0:
            end = min(row["most"], _COLUMN_LIMITS.get(row["column_type"] or "", row["most"]))
            used = (row["last"] - row["least"]) / max(end - row["least"], 1)
        else:
            end = row["least"]
            used = (row["most"] - row["last"]) / max(row["most"] - end, 1)
        found.append(
            {
                "sequence": table_name(row), "used": round(100 * used, 1), "last": row["last"], "end": end,
                "column": row["owner"] if row["column_type"] else "", "column_type": row["column_type"] or "",
            }
        )  # fmt: skip
    return sorted(found, key=lambda row: -row["used"])


def sequences(rows: Sequence[Mapping[str, Any]], hidden: int, limits: Limits) -> Iterator[Finding]:
    worst = rows[0]["used"] if rows else 0
    for row in rows:
        verdict = _level(row["used"], limits["sequence_warn"], limits["sequence_fail"])
        if verdict == "pass":
            break
        narrow = row["column_type"] in ("integer", "smallint")
        yield Finding(
            "sequences", verdict,
            f"{row['sequence']} has used {row['used']:g} % of its numbers up to {row['end']}"
            + (f": {row['column']} is {row['column_type']}" if narrow else ""),
            object=row["sequence"], value=row["used"],
            threshold=f"below {limits['sequence_fail' if verdict == 'fail' else 'sequence_warn']:g} %",
            next_step=f"a migration that makes {row['column'] or 'the column'} bigint, by a new column and in steps: ALTER TYPE "
            "rewrites the table",
        )  # fmt: skip
    if hidden:
        yield Finding(
            "sequences", "inconclusive", f"{hidden} sequences may not be read by this account", value=hidden, confidence="low",
            next_step="ask as the owner of the tables",
        )  # fmt: skip
    elif worst < limits["sequence_warn"]:
        yield Finding("sequences", "pass", f"the fullest has used {worst:g} %", value=worst)


def bloat(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], limits: Limits) -> Iterator[Finding]:
    """``rows``: ``table``, ``bytes``, ``wasted``, ``method`` (estimate or pgstattuple), ``analyzed``."""
    bad = 0
    for row in rows:
        share = 100 * row["wasted"] / row["bytes"] if row["bytes"] else 0.0
        if row["bytes"] < limits["bloat_min_mb"] * 1048576 or share < limits["bloat_warn"]:
            continue
        bad += 1
        measured = row["method"] != "estimate"
        known = measured or row["analyzed"] is not None
        since = f"statistics of {period(facts['now'] - row['analyzed'])} ago" if row["analyzed"] else "never analyzed"
        how = "measured" if measured else "an estimate, and a rough one"
        yield Finding(
            "bloat", "warn" if known else "inconclusive",
            f"{row['table']}: about {megabytes(row['wasted'])} of {megabytes(row['bytes'])} are empty ({how})",
            object=row["table"], value=round(share, 1), threshold=f"below {limits['bloat_warn']:g} %",
            sample="pgstattuple_approx, now" if measured else since, confidence="medium" if measured else "low",
            next_step=f"measure it: pgstattuple_approx('{row['table']}') of the extension pgstattuple" if not measured else
            f"the space is used again by itself; if it must go: pg_repack, or REINDEX TABLE CONCURRENTLY {row['table']}",
        )  # fmt: skip
    if not bad:
        yield Finding("bloat", "pass", "no large table looks bloated (an estimate)", confidence="low")


def table_name(row: Mapping[str, Any]) -> str:
    """As SQL takes it, without public."""
    names = [row["name"]] if row["schema"] == "public" else [row["schema"], row["name"]]
    return ".".join(quoted(name) for name in names)


def quoted(name: str) -> str:
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower() and not name[:1].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'
