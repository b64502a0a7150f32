"""Whether the targets are met, by one host or by a fleet (pure, standard library only).

Nothing passes on too few samples. What is counted is added over hosts; percentiles are not averaged, ever. Of each
endpoint the application tells four points of its distribution (p50, p95, p99, max). They say between which two values the
share of requests under a target lies, and these shares can be added. So the answer is mostly certain although the
percentile of all requests together is only known between two bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..finding import Finding

__all__ = ["DEFAULT_TARGETS", "judge", "share_under", "wilson"]

DEFAULT_TARGETS: dict[str, float] = {
    "p95_ms": 200,
    "p99_ms": 500,
    "mean_ms": 100,
    "errors_percent": 0.1,
    "server_errors_percent": 0.01,
    "pool_percent": 80,
    "query_p95_ms": 100,
    "cache_hits_percent": 80,
}
_FEWEST = {"p95_ms": 100, "p99_ms": 500, "mean_ms": 30, "query_p95_ms": 100, "rate": 100}
_LOOKS = 3
_POINTS = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
# A single endpoint with fewer requests than this is no example.
_EXAMPLE = 20
# The half width of a 95 % interval, in standard errors.
_Z = 1.96

Measures = Mapping[str, Mapping[str, Any]]


def wilson(hits: float, total: float) -> tuple[float, float]:
    """The 95 % interval of a share of which ``hits`` of ``total`` were seen. With nothing seen it is everything."""
    if total <= 0:
        return 0.0, 1.0
    share = min(hits / total, 1.0)  # counters are read one after the other: a part may be ahead of the whole
    middle = share + _Z**2 / (2 * total)
    half = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    scale = 1 + _Z**2 / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def share_under(figures: Mapping[str, float], limit: float) -> tuple[float, float]:
    """(least, most) share of an endpoint's requests that took less than ``limit``."""
    least = max((part for name, part in _POINTS if figures[name] < limit), default=0.0)
    most = min((part for name, part in _POINTS if figures[name] >= limit), default=1.0)
    return least, max(most, least)


def judge(
    hosts: Mapping[str, Mapping[str, Any]], targets: Mapping[str, float], *, database: bool = True, cache: bool = True
) -> list[Finding]:
    """A finding for each target. ``hosts`` maps names to results of module floyo_slo, failed ones included."""
    measures: Measures = {host: result.get("measures") or {} for host, result in hosts.items()}
    return [
        *_latency(measures, targets),
        *_errors(measures, targets),
        *(_pool(measures, targets) if database else []),
        *(_queries(measures, targets) if database else []),
        *(_cache(measures, targets) if cache else []),
        *_problems(hosts),
    ]


def _of(measures: Measures, kind: str) -> dict[str, Mapping[str, Any]]:
    return {host: found[kind] for host, found in measures.items() if found.get(kind)}


def _missing(check: str, what: str, next_step: str = "") -> Finding:
    return Finding(check, "inconclusive", what, sample="none", confidence="low", next_step=next_step)


# --- latency ---------------------------------------------------------------------------------------------------------


def _latency(measures: Measures, targets: Mapping[str, float]) -> list[Finding]:
    told = _of(measures, "latency")
    listed = [(host, name, figures) for host, found in told.items() for name, figures in found["endpoints"].items()]
    total = sum(figures["count"] for _, _, figures in listed)
    if not total:
        what = "no request of a user was measured" if told else "no host tells latencies"
        return [_missing(check, what) for check in ("p95 latency", "p99 latency", "mean latency")]
    # A process keeps the last thousand requests of each endpoint, however long ago they were.
    sources = sorted({found["source"] for found in told.values()})
    sample = f"{total:.0f} requests on {len(told)} host{'s' * (len(told) > 1)}, {', '.join(sources)}"
    findings = [
        _percentile(f"{key[:3]} latency", key, part, listed, total, targets[key], sample)
        for key, part in (("p95_ms", 0.95), ("p99_ms", 0.99))
    ]
    mean = sum(figures["count"] * figures["avg"] for _, _, figures in listed) / total
    limit = targets["mean_ms"]
    verdict = "fail" if mean >= limit else "pass"
    message = f"{mean:.1f} ms (exact)"
    if total < _FEWEST["mean_ms"]:
        verdict, message = (
            "inconclusive",
            f"{message}; {total:.0f} requests are too few, {_FEWEST['mean_ms']} are needed",
        )
    findings.append(
        Finding("mean latency", verdict, message, value=round(mean, 1), threshold=f"< {limit:g} ms", sample=sample,
                next_step=_slowest_step(verdict))
    )  # fmt: skip
    return findings


def _slowest_step(verdict: str) -> str:
    return "ansible-playbook playbooks/logs.yml -e floyo_observe_logs=slow" if verdict == "fail" else ""


def _percentile(
    check: str,
    key: str,
    part: float,
    listed: Sequence[tuple[str, str, Mapping[str, float]]],
    total: float,
    limit: float,
    sample: str,
) -> Finding:
    shares = [(figures["count"], *share_under(figures, limit)) for _, _, figures in listed]
    least = sum(count * low for count, low, _ in shares) / total
    most = sum(count * high for count, _, high in shares) / total
    column = key[:3]
    values = [figures[column] for _, _, figures in listed]
    low, high = min(values), max(values)
    value = f"{low:.1f} ms (exact)" if len(values) == 1 else f"between {low:.1f} and {high:.1f} ms (bounds)"
    threshold = f"< {limit:g} ms"
    if total < _FEWEST[key]:
        message = f"{value}; {total:.0f} requests are too few, {_FEWEST[key]} are needed"
        return Finding(
            check, "inconclusive", message, value=value, threshold=threshold, sample=sample, confidence="low"
        )
    slow = [one for one in listed if one[2][column] >= limit and one[2]["count"] >= _EXAMPLE]
    if least >= part:
        note = ""
        if slow:
            host, name, figures = max(slow, key=lambda one: one[2][column])
            note = f"; though {name} on {host} has {figures[column]:.1f}"
        return Finding(check, "pass", value + note, value=value, threshold=threshold, sample=sample)
    if most <= part:
        host, name, figures = max(listed, key=lambda one: one[2]["count"] * (one[2][column] >= limit) * one[2][column])
        return Finding(
            check,
            "fail",
            f"{value}; at most {100 * most:.1f} % of requests are under {limit:g} ms; {name} on {host} has"
            f" {figures[column]:.1f} in {figures['count']:.0f} requests",
            object=name,
            value=value,
            threshold=threshold,
            sample=sample,
            next_step=_slowest_step("fail"),
        )
    return Finding(
        check,
        "inconclusive",
        f"{value}; {100 * least:.1f} to {100 * most:.1f} % of requests are under {limit:g} ms, and {100 * part:g} % must be",
        value=value,
        threshold=threshold,
        sample=sample,
        confidence="low",
    )


# --- rates -----------------------------------------------------------------------------------------------------------


def _windows(told: Mapping[str, Mapping[str, Any]], keys: Iterable[str]) -> list[dict[str, Any]]:
    """The windows that every host has, from the newest to the longest, with the counts of all hosts."""
    labels = [window["label"] for window in next(iter(told.values()))["windows"]] if told else []
    found = []
    for label in labels:
        parts = [window for one in told.values() for window in one["windows"] if window["label"] == label]
        if len(parts) == len(told):
            seconds = [part["seconds"] for part in parts if part["seconds"] is not None]
            found.append(
                {
                    "label": label,
                    "seconds": max(seconds) if len(seconds) == len(parts) else None,
                    **{key: sum(part[key] for part in parts) for key in keys},
                }
            )
    return found


def _span(window: Mapping[str, Any], unit: str, total: float) -> str:
    seconds = window["seconds"]
    return f"{total:.0f} {unit} {window['label']}" + (f" ({_time(seconds)})" if seconds is not None else "")


def _time(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _errors(measures: Measures, targets: Mapping[str, float]) -> list[Finding]:
    told = _of(measures, "proxy") or _of(measures, "log")
    checks = (
        ("error rate", "errors_percent", lambda window: window["client_errors"] + window["server_errors"]),
        ("5xx rate", "server_errors_percent", lambda window: window["server_errors"]),
    )
    if not told:
        what = "neither a proxy nor the log says how many requests there were"
        return [_missing(name, what, "set floyo_has_proxy and ask the proxies, too") for name, _, _ in checks]
    windows = _windows(told, ("requests", "client_errors", "server_errors"))
    source = "the log" if not _of(measures, "proxy") else "the proxy"
    findings = []
    for name, key, count in checks:
        limit = targets[key] / 100
        best = None
        for window in windows:
            total, bad = window["requests"], count(window)
            low, high = wilson(bad, total)
            verdict = "pass" if high < limit else "fail" if low > limit else "inconclusive"
            if total < _FEWEST["rate"]:
                verdict = "inconclusive"
            share = f"{100 * bad / total:.3f} %" if total else "no requests"
            message = f"{share}, {bad:.0f} of {total:.0f} ({source})"
            if key == "errors_percent" and bad:
                message += f"; {window['client_errors']:.0f} of them 4xx"
            if verdict == "inconclusive":
                message += f"; too few to tell {targets[key]:g} %"
            finding = Finding(
                name,
                verdict,
                message,
                value=round(100 * bad / total, 4) if total else None,
                threshold=f"< {targets[key]:g} %",
                sample=_span(window, "requests", total),
                confidence="low" if verdict == "inconclusive" else "high",
                next_step="ansible-playbook playbooks/logs.yml -e floyo_observe_logs=patterns"
                if verdict == "fail"
                else "",
            )
            best = finding
            if verdict != "inconclusive":
                break
        findings.append(best or _missing(name, "nothing was counted"))
    return findings


def _cache(measures: Measures, targets: Mapping[str, float]) -> list[Finding]:
    told = _of(measures, "cache")
    if not told:
        return [_missing("cache hits", "no host tells how its cache does")]
    limit = targets["cache_hits_percent"] / 100
    kinds = sorted({str(one["type"]) for one in told.values()})
    best = None
    for window in _windows(told, ("hits", "misses")):
        total = window["hits"] + window["misses"]
        low, high = wilson(window["hits"], total)
        verdict = "pass" if low > limit else "fail" if high < limit else "inconclusive"
        message = f"{100 * window['hits'] / total:.1f} % of {total:.0f} lookups" if total else "no lookups"
        if total < _FEWEST["rate"]:
            verdict, message = "inconclusive", f"{message}; too few, {_FEWEST['rate']} are needed"
        best = Finding(
            "cache hits",
            verdict,
            f"{message} (cache: {', '.join(kinds)})",
            value=round(100 * window["hits"] / total, 1) if total else None,
            threshold=f"> {targets['cache_hits_percent']:g} %",
            sample=_span(window, "lookups", total),
            confidence="low" if verdict == "inconclusive" else "high",
            next_step="ansible-playbook playbooks/cache_stats.yml" if verdict == "fail" else "",
        )
        if verdict != "inconclusive":
            break
    return [best] if best else [_missing("cache hits", "nothing was counted")]


# --- the database ----------------------------------------------------------------------------------------------------


def _pool(measures: Measures, targets: Mapping[str, float]) -> list[Finding]:
    told = _of(measures, "pool")
    if not told:
        return [_missing("pool use", "no host tells how full its pool is")]
    limit = targets["pool_percent"]
    endless = sorted(host for host, one in told.items() if any(look["capacity"] is None for look in one["looks"]))
    used = {
        host: sorted(100 * look["used"] / look["capacity"] for look in one["looks"] if look["capacity"])
        for host, one in told.items()
    }
    used = {host: shares for host, shares in used.items() if shares}
    looks = min((len(shares) for shares in used.values()), default=0)
    sample = f"{looks} looks at each of {len(used)} hosts"
    if not used:
        why = f"has no limit on {', '.join(endless)}" if endless else "has a capacity of 0"
        return [_missing("pool use", f"the pool {why}", "set DATABASE_MAX_OVERFLOW")]
    worst = max(used, key=lambda host: used[host][len(used[host]) // 2])
    middle, most = used[worst][len(used[worst]) // 2], max(shares[-1] for shares in used.values())
    full = sorted(host for host, shares in used.items() if shares[len(shares) // 2] >= limit)
    message = f"{middle:.0f} % on {worst}, at most {most:.0f} % seen"
    if endless:
        message += f"; without a limit on {', '.join(endless)}"
    verdict = "fail" if full else "warn" if most >= limit else "inconclusive" if looks < _LOOKS or endless else "pass"
    if verdict == "inconclusive" and looks < _LOOKS:
        message += f"; {looks} looks are too few, {_LOOKS} are needed"
    return [
        Finding(
            "pool use",
            verdict,
            message,
            object=", ".join(full),
            value=round(middle, 1),
            threshold=f"< {limit:g} %",
            sample=sample,
            next_step="ansible-playbook playbooks/troubleshoot.yml" if full else "",
        )
    ]


def _queries(measures: Measures, targets: Mapping[str, float]) -> list[Finding]:
    told = _of(measures, "queries")
    limit, check = targets["query_p95_ms"], "p95 of queries"
    if not told:
        return [_missing(check, "nobody asked the database's statistics")]
    statements = [statement for one in told.values() for statement in one["statements"]]
    total = sum(statement["calls"] for statement in statements)
    sample = f"{total:.0f} calls since {next(iter(told.values()))['since'] or 'an unknown time'}"
    threshold = f"< {limit:g} ms"
    if total < _FEWEST["query_p95_ms"]:
        message = f"{total:.0f} calls are too few, {_FEWEST['query_p95_ms']} are needed"
        return [Finding(check, "inconclusive", message, threshold=threshold, sample=sample, confidence="low")]
    least = sum(one["calls"] * _surely_under(one, limit) for one in statements) / total
    most = sum(one["calls"] * (one["min_ms"] < limit) for one in statements) / total
    message = (
        f"{100 * least:.1f} to {100 * most:.1f} % of calls are under {limit:g} ms (bounds from mean and deviation)"
    )
    verdict = "pass" if least >= 0.95 else "fail" if most < 0.95 else "inconclusive"
    return [
        Finding(
            check,
            verdict,
            message,
            value=[round(100 * least, 1), round(100 * most, 1)],
            threshold=f"95 % {threshold}",
            sample=sample,
            confidence="low" if verdict == "inconclusive" else "high",
            next_step="ansible-playbook playbooks/database_slow_queries.yml" if verdict != "pass" else "",
        )
    ]


def _surely_under(statement: Mapping[str, float], limit: float) -> float:
    """The least share of a statement's calls that took less than ``limit``.

    The server keeps no percentiles. Cantelli's inequality holds for any distribution with this mean and deviation.
    """
    if statement["max_ms"] < limit:
        return 1.0
    distance = limit - statement["mean_ms"]
    if distance <= 0:
        return 0.0
    variance = statement["deviation_ms"] ** 2
    return distance**2 / (variance + distance**2) if variance + distance**2 else 1.0


# --- what was not measured -------------------------------------------------------------------------------------------


def _problems(hosts: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """One finding for each trouble, with all hosts that have it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for host, result in hosts.items():
        if "measures" not in result:
            text = "unreachable" if result.get("unreachable") else str(result.get("msg") or "no answer")
            found.setdefault(("host", text, ""), []).append(host)
        for one in result.get("problems") or ():
            found.setdefault((one["measure"], f"{one['code']}: {one['message']}", one["next_step"]), []).append(host)
        for one in result.get("restarted") or ():
            what = f"RESTARTED: the counters of the {one} began again since the last look"
            found.setdefault((one, what, ""), []).append(host)
    return [
        Finding(
            f"asking for {check}" if check != "host" else "host",
            "inconclusive" if "RESTARTED" not in text else "warn",
            f"{', '.join(names)}: {text}",
            object=", ".join(names),
            next_step=next_step,
        )
        for (check, text, next_step), names in found.items()
    ]
