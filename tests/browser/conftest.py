"""A real browser, and reports to look at: a deploy of 200 hosts with hostile names, and the index of a fleet's history."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from ansible.module_utils.floyo.report import document, history, looks
from ansible.module_utils.floyo.report.shelf import Shelf

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"
BEGAN = 1764110000.0
ENDED = BEGAN + 62


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is there; on Debian 'make setup' installs one")
    with sync_playwright() as playwright:
        # Root has no sandbox; what Chromium would fetch by itself is nobody's business here.
        started = playwright.chromium.launch(
            executable_path=program,
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync",
            ],
        )  # fmt: skip
        yield started
        started.close()


def deploy(count: int) -> dict[str, Any]:
    """Everything that a page can show, of ``count`` hosts; the last one has a hostile name and failed."""
    chance = random.Random(1)
    hosts = [*(f"backend{number}" for number in range(1, count)), HOSTILE]
    at, steps, switches = BEGAN, [], []
    for name, took in (
        ("Look", 3),
        ("Lock", 0.4),
        ("Build", 22),
        ("Stage", 6),
        ("Judge", 1.2),
        ("Change the database", 7.4),
    ):
        steps.append({"label": name, "spans": [{"begin": at, "end": at + took, "label": name}]})
        at += took
    for number, batch in enumerate((hosts[:1], hosts[1 : count // 4 + 1], hosts[count // 4 + 1 :]), 1):
        named = batch[0] if len(batch) == 1 else f"{len(batch)} hosts"
        steps.append(
            {"label": f"Switch: batch {number} ({named})", "spans": [{"begin": at, "end": at + 6, "label": "Serve"}]}
        )
        for host in batch:
            tone = "bad" if host == HOSTILE else "good"
            span = {"begin": at + 1, "end": at + 1.5 + chance.random() * 4, "label": "Serve", "tone": tone}
            switches.append({"label": host, "spans": [span], "tone": tone, "result": "failed" if tone == "bad" else ""})
        at += 6
    requests = [[BEGAN + second, 30 + chance.random() * 4 - (9 if 45 < second < 53 else 0)] for second in range(62)]
    missed = [[BEGAN + second, 3 if second in (47, 48) else 0] for second in range(62)]
    latency = [[BEGAN - 3600 + 10 * step, 210 + chance.random() * 120] for step in range(360)]
    return document.made(
        kind="deploy", title=f"floyo production: deploy v1.4.0 {HOSTILE}", application="floyo", environment="production",
        began=BEGAN, ended=ENDED, verdict="bad", word="failed", summary=f"v1.4.0 did not come up on {HOSTILE}.",
        facts={"version": "v1.4.0", "hosts": count, "on_release": count - 1, "lost_requests": 6},
        sections=[
            {"type": "tiles", "title": "At a glance", "tiles": [
                {"label": "hosts on the release", "value": f"{count - 1} of {count}", "tone": "bad"},
                {"label": "lost requests", "value": "6 of 1,904", "tone": "doubtful", "note": "by the proxies' counters"},
                {"label": "backup", "value": "verified", "tone": "good", "note": "20251125T223012Z-3f9a1c"},
                {"label": "migrations", "value": "1 run", "note": HOSTILE},
                {"label": "service level", "value": "not known", "tone": "unknown"},
            ]},
            {"type": "table", "title": "Hosts", "columns": [
                "host", "from", {"key": "runs", "label": "runs now"}, {"key": "seconds", "align": "right"}, "result", "health",
            ], "rows": [
                {"host": host, "from": "v1.3.2-91ab22cd", "runs": "v1.4.0-0f3a91c2", "seconds": chance.random() * 4,
                 "result": "reverted" if host == HOSTILE else "switched",
                 "health": "unhealthy" if host == HOSTILE else "healthy"} for host in hosts
            ]},
            {"type": "timeline", "title": "Who switched when", "rows": steps + switches},
            {"type": "lines", "title": "Requests through the proxies", "unit": "per s", "marks": [
                {"at": BEGAN + 40, "label": "first switch"}], "series": [
                {"label": "requests", "points": requests}, {"label": "lost", "points": missed}]},
            {"type": "lines", "title": "Latency", "unit": "ms", "targets": [{"label": "target p95", "value": 500}], "series": [
                {"label": f"p{number}", "points": [[moment, value * factor] for moment, value in latency]}
                for number, factor in ((50, 0.3), (75, 0.5), (90, 0.8), (95, 1), (98, 1.3), (99, 1.6))]},
            {"type": "bars", "title": "Slowest queries", "unit": "ms", "target": {"label": "slow", "value": 100}, "bars": [
                {"label": f"WHERE name = '{HOSTILE}'", "value": 412.5, "tone": "bad", "note": "1,204 calls"},
                {"label": "SELECT * FROM tags", "value": 88, "tone": "good"},
                {"label": "UPDATE runs SET state = $1", "value": None}]},
            {"type": "findings", "title": "Findings", "findings": [
                {"check": "pool", "verdict": verdict, "message": HOSTILE, "next_step": "playbooks/health.yml"}
                for verdict in ("pass", "warn", "fail", "inconclusive")]},
            {"type": "text", "title": "Last lines", "lines": [f"  ImportError: {HOSTILE}"] * 60},
            {"type": "table", "title": "What was built", "folded": True, "columns": ["what", "is"], "rows": [["commit", "c0ffee"]]},
            {"type": "table", "title": "Nothing here", "columns": ["what"], "rows": []},
        ],
    )  # fmt: skip


def looked() -> dict[str, Any]:
    """What service levels and troubleshooting show: all plots of looks."""
    chance = random.Random(3)
    day = [BEGAN - 300 * step for step in range(288, 0, -1)]
    processes = {
        f"backend{number}": {
            "history": [[at, None if at == day[100] else (180 + number * 9 + growth * index) * 2**20] for index, at in enumerate(day)],
            "leak": {"bytes_an_hour": growth},
        }
        for number, growth in ((1, 0.02), (2, 0.6), (3, 0.0))
    }  # fmt: skip
    patterns = [
        {
            "pattern": f"{name} {HOSTILE}",
            "by_minute": [[BEGAN - 60 * minute, chance.randint(0, most)] for minute in range(10)],
        }
        for name, most in (("QueuePool limit of size <n> reached", 14), ("relation does not exist", 3))
    ]
    found = [
        {"check": check, "value": value, "threshold": threshold, "verdict": verdict, "message": "", "sample": "2,310 requests in 60 s"}
        for check, value, threshold, verdict in (
            ("p95 latency", 182.4, "< 200 ms", "pass"), ("p99 latency", 611.0, "< 500 ms", "fail"), ("5xx", 0.004, "< 0.01 %", "pass"),
            ("pool", 71.0, "< 80 %", "warn"), ("cache hits", 91.5, "> 80 %", "pass"), ("query p95", 20.0, "< 100 ms", "inconclusive"),
        )
    ]  # fmt: skip
    slow = [{"what": f"GET /api/{name}/{HOSTILE}", "count": 3, "max_ms": ms, "hosts": ["backend1", "backend2"]}
            for name, ms in (("workflows", 912.0), ("tags", 630.5))]  # fmt: skip
    statements = [{"query": f"TABLE {name} -- {HOSTILE}", "mean_ms": ms, "calls": 210, "share": 40.5}
                  for name, ms in (("runs", 88.2), ("workflows", 3.1))]  # fmt: skip
    return document.made(
        kind="slo", title="floyo production: service levels", application="floyo", environment="production", began=BEGAN,
        ended=ENDED, verdict="bad", word="not met", summary="Not met: p99 latency.",
        sections=[
            *looks.level_bars(found),
            {"type": "findings", "title": "Service levels", "findings": found},
            *looks.errors_over_time({"backend1": {"patterns": patterns}}),
            *looks.slow_bars(slow),
            *looks.query_bars(statements),
            *looks.memory_over_time(processes),
        ],
    )  # fmt: skip


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages by name: deploy, large (200 hosts), looks, index."""
    shelf = Shelf(str(tmp_path_factory.mktemp("reports")))
    chance = random.Random(2)
    for day in range(30):
        kind, verdict = (
            chance.choice(["deploy", "deploy", "rollback", "slo"]),
            chance.choice(["good", "good", "bad", "doubtful"]),
        )
        level = {
            "name": "p95 latency",
            "value": 250 + chance.random() * 300,
            "target": 500,
            "unit": "ms",
            "ok": verdict == "good",
        }
        began = BEGAN - day * 86400
        shelf.put(
            document.made(
                kind=kind, title=f"floyo production: {kind}", application="floyo", environment="production", began=began,
                ended=began + 20 + chance.random() * 60, verdict=verdict,
                facts={"version": f"v1.{40 - day}.0", "hosts": 5, "on_release": 5, "levels": [level]},
            )
        )  # fmt: skip
    documents, strange = shelf.documents()
    made = history.index(documents, application="floyo", environment="production", now=ENDED, strange=strange)
    return {
        "index": Path(shelf.put_index(made)),
        "deploy": Path(shelf.put(deploy(5))[0]),
        "looks": Path(shelf.put(looked())[0]),
        "large": Path(shelf.put(deploy(200))[0]),
    }


Look = Callable[..., Any]


@pytest.fixture
def look(browser: Browser, pages: dict[str, Path]) -> Iterator[Look]:
    """``look("deploy", width=390, scheme="dark")`` opens a page; its complaints and requests are in ``page.noticed``."""
    contexts = []

    def open_page(name: str, *, width: int = 1100, scheme: str = "light", policy: bool = True) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=not policy
        )
        contexts.append(context)
        page = context.new_page()
        noticed: list[str] = []
        address = pages[name].as_uri()
        page.on("console", lambda message: noticed.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: noticed.append(f"error: {error}"))
        page.on("dialog", lambda dialog: noticed.append(f"dialog: {dialog.message}"))
        page.on(
            "request", lambda it: noticed.append(f"request: {it.url}") if it.url not in (address, "data:,") else None
        )
        page.goto(address)
        page.noticed = noticed
        return page

    yield open_page
    for context in contexts:
        context.close()
