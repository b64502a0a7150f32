"""Reports as people see them: a wide screen, a phone, in the dark, on paper, with a keyboard, with a screen reader."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

Look = Callable[..., Any]
NAMES = ("deploy", "large", "looks", "index")
HOSTILE = "<script>document.title='taken'</script>"


@pytest.mark.parametrize("name", NAMES)
def test_a_page_asks_for_nothing_and_complains_about_nothing(look: Look, name: str) -> None:
    page = look(name)
    assert page.noticed == []
    assert page.locator("script").count() == 0
    # Nothing on it could leave it: what a link leads to lies beside it.
    addresses = page.evaluate(
        "[...document.querySelectorAll('[src],[href]')].map(e => e.getAttribute('src') || e.getAttribute('href'))"
    )
    assert [one for one in addresses if ":" in one and one != "data:,"] == []
    assert [one for one in addresses if one.startswith("/")] == []


def test_the_policy_of_a_page_forbids_scripts_and_requests(look: Look) -> None:
    page = look("deploy")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        page.evaluate(
            """port => {
                const script = document.createElement('script');
                script.textContent = 'document.title = "ran"';
                document.body.append(script);
                const image = new Image();
                image.src = `http://127.0.0.1:${port}/x.png`;
                return new Promise(done => { image.onerror = () => done(0); document.body.append(image); });
            }""",
            server.getsockname()[1],
        )
        with pytest.raises(BlockingIOError):
            server.accept()
    assert page.title() != "ran"
    assert sum("Content Security Policy" in line for line in page.noticed) >= 2


def test_hostile_text_is_text(look: Look) -> None:
    page = look("deploy")
    assert HOSTILE in page.title()
    assert HOSTILE in page.locator("h1").inner_text()
    for place in ("Hosts", "Who switched when", "Slowest queries", "Findings", "Last lines"):
        assert HOSTILE in page.get_by_role("region", name=place, exact=True).inner_text(), place
    assert "{{ 7 * 7 }}" in page.locator("h1").inner_text(), "nor is it a template"
    assert page.locator("img").count() == 0
    page = look("looks")
    for place in ("Errors by the minute", "Slow requests, the worst of each", "Slowest statements"):
        assert HOSTILE in page.get_by_role("region", name=place, exact=True).inner_text(), place


def test_a_deploy_tells_its_story(look: Look) -> None:
    page = look("deploy")
    assert page.locator(".verdict").inner_text().split()[0] == "failed"
    hosts = page.get_by_role("region", name="Hosts", exact=True).get_by_role("table")
    assert hosts.get_by_role("columnheader").all_inner_texts() == [
        "host",
        "from",
        "runs now",
        "seconds",
        "result",
        "health",
    ]
    assert hosts.get_by_role("row").count() == 6
    assert hosts.get_by_role("rowheader").first.inner_text() == "backend1"
    lanes = page.get_by_role("region", name="Who switched when", exact=True).get_by_role("table")
    assert "Change the database" in lanes.inner_text()
    assert lanes.locator("rect").count() == 14, "nine steps and five hosts"
    plot = page.get_by_role("img", name="Requests through the proxies")
    assert "lost: 62 values from 0 to 3" in plot.locator("desc").text_content()
    page.get_by_role("region", name="Requests through the proxies", exact=True).get_by_text("The numbers").click()
    assert page.get_by_role("table", name="lost, per s").get_by_role("row").count() > 20
    assert not page.get_by_text("c0ffee").is_visible()
    page.locator("summary", has_text="What was built").click()
    assert page.get_by_text("c0ffee").is_visible()
    assert "None." in page.get_by_role("region", name="Nothing here", exact=True).inner_text()


def test_the_index_leads_to_every_report(look: Look, pages: dict[str, Path]) -> None:
    page = look("index")
    rows = page.get_by_role("region", name="All reports", exact=True).get_by_role("row")
    assert rows.count() == 31
    page.get_by_role("region", name="Releases", exact=True).get_by_role("link").first.click()
    assert page.locator(".kind").inner_text().split()[-1].lower() in ("deploy", "rollback")
    page.get_by_role("link", name="The same as JSON").click()
    data = json.loads(Path(page.url.removeprefix("file://")).read_text())
    assert data["kind"] in ("deploy", "rollback")
    assert pages["index"].exists()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["deploy", "looks", "index"])
def test_contrast_and_accessibility(look: Look, name: str, scheme: str) -> None:
    """With axe-core, which brings a script of its own; everything that folds is open."""
    page = look(name, scheme=scheme, policy=False)
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    checked = {rule["id"] for rule in result.response["passes"]}
    assert {"color-contrast", "document-title", "html-has-lang", "landmark-one-main", "page-has-heading-one"} <= checked


def test_a_phone_scrolls_down_and_never_sideways(look: Look) -> None:
    for name in NAMES:
        page = look(name, width=390)
        page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        smallest = page.evaluate(
            """Math.min(...[...document.querySelectorAll('main *')].filter(e => e.textContent.trim() && e.getClientRects().length)
               .map(e => parseFloat(getComputedStyle(e).fontSize)))"""
        )
        assert smallest >= 11, name


def test_the_keyboard_reaches_everything(look: Look) -> None:
    page = look("deploy")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "To the content"
    assert skip.bounding_box()["x"] >= 0, "it is seen when it has the focus"
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "The numbers":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open") is True
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_paper_shows_what_is_folded(look: Look) -> None:
    page = look("deploy")
    page.emulate_media(media="print")
    assert page.get_by_text("c0ffee").bounding_box()["height"] > 0
    assert not page.get_by_role("navigation").is_visible()
    colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    dark = look("deploy", scheme="dark")
    dark.emulate_media(media="print", color_scheme="dark")
    assert dark.evaluate("getComputedStyle(document.documentElement).backgroundColor") == colour, "no black paper"
    ink = dark.evaluate("getComputedStyle(document.body).color")
    assert max(int(part) for part in ink.removeprefix("rgb(").removesuffix(")").split(",")) < 80


def test_states_differ_by_more_than_colour(look: Look) -> None:
    page = look("deploy")
    shapes = page.evaluate(
        "[...document.querySelectorAll('main .state')].map(e => [e.className, e.querySelector('use').getAttribute('href')])"
    )
    assert {tuple(one) for one in shapes} >= {
        ("state good", "#icon-good"), ("state bad", "#icon-bad"), ("state doubtful", "#icon-doubtful"), ("state unknown", "#icon-unknown"),
    }  # fmt: skip
    dashes = page.evaluate(
        "[...document.querySelectorAll('section:nth-of-type(5) path.series')].map(e => getComputedStyle(e).strokeDasharray)"
    )
    assert len(set(dashes)) == 6, "six series have six dashes"


def test_pages_stay_small(pages: dict[str, Path]) -> None:
    assert pages["deploy"].stat().st_size < 150_000
    assert pages["large"].stat().st_size < 500_000
    assert pages["large"].with_suffix(".json").stat().st_size < 1_000_000
    assert pages["index"].stat().st_size < 150_000


def test_two_hundred_hosts_are_folded_and_all_there(look: Look) -> None:
    page = look("large")
    hosts = page.get_by_role("region", name="Hosts", exact=True)
    assert hosts.get_by_role("row").count() == 61
    hosts.get_by_text("140 more rows").click()
    assert hosts.get_by_role("rowheader", name="backend150", exact=True).is_visible()
    assert page.get_by_role("region", name="Who switched when", exact=True).get_by_text("169 more rows").is_visible()
