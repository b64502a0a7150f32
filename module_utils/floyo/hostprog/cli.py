"""floyo-release: the host's own command, with or without a controller (standard library only)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from ..errors import FloyoError, Unusable
from .host import Config, Host
from .releases import digest_of, info, pin, prune, unpin
from .switch import history, previous_good, resume, switch

__all__ = ["OUTDATED", "main"]

# Exit status: the caller brought newer sources than this program was packed from.
OUTDATED = 3
KEEP = 5


def _info(action: argparse.ArgumentParser) -> None:
    action.add_argument("--graphs", action="store_true", help="with the revisions of each release")
    action.add_argument("--without-health", action="store_true", help="do not ask the application how it is")


def _switching(name: str) -> Callable[[argparse.ArgumentParser], None]:
    def describe_options(action: argparse.ArgumentParser) -> None:
        action.add_argument("release", nargs=None if name == "switch" else "?")
        action.add_argument("--token", type=int, help="fencing token of the lease; a lower one than seen is refused")
        action.add_argument("--holder", help="default: the user's name")
        action.add_argument("--reason", default="by hand")
        action.add_argument("--kind", choices=["deploy", "rollback"], default="deploy" if name == "switch" else name)

    return describe_options


def _prune(action: argparse.ArgumentParser) -> None:
    action.add_argument("--keep", type=int, default=KEEP, help=f"proven releases that stay (default {KEEP})")
    action.add_argument("--needed", action="append", default=[], metavar="RELEASE", help="stays, too")


def _pin(action: argparse.ArgumentParser) -> None:
    action.add_argument("release")
    action.add_argument("--reason", default="by hand")


def _unpin(action: argparse.ArgumentParser) -> None:
    action.add_argument("release")


def _sample(action: argparse.ArgumentParser) -> None:
    action.add_argument("--ring", required=True, help="file of the samples")


def _lease(action: argparse.ArgumentParser) -> None:
    action.add_argument("state", choices=["acquired", "renewed", "released", "info"])
    action.add_argument("options", type=json.loads, help="the module's options, as JSON")


def _nothing(action: argparse.ArgumentParser) -> None:
    """An action without options."""


_ACTIONS = {
    "status": ("release that runs, releases on disk, unfinished switch", _nothing),
    "info": ("the same and more, for programs", _info),
    "resume": ("finish or undo a switch that was interrupted", _nothing),
    "switch": ("serve RELEASE", _switching("switch")),
    "rollback": ("serve the last good release before this one", _switching("rollback")),
    "prune": ("remove releases that nobody will go back to", _prune),
    "pin": ("keep RELEASE from being pruned", _pin),
    "unpin": ("let RELEASE be pruned again", _unpin),
    "sample": ("note what the service takes now; a timer does it", _sample),
    "lease": ("what module floyo_lease does, for playbooks", _lease),
    "migrations": (
        "what module alembic_migrate says with state info, for playbooks: its options on standard input",
        _nothing,
    ),
}


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="floyo-release",
        description="What runs on this host, and how to serve another release.",
        epilog="Exit status: 0 done, 1 failed or refused (nothing changed, or the old release serves again), 2 usage,"
        f" {OUTDATED} the program is not the one that --digest names.",
    )
    parser.add_argument("--config", help="default: the one /etc/*/floyo-release.json")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--check", action="store_true", help="say what would be done")
    parser.add_argument("--digest", help="sha256 that this program must have")
    # With a name of its own it does not format the usage for one; and only the actions that are named are described: a
    # fleet waits for each start of this program.
    actions = parser.add_subparsers(dest="action", required=True, prog=parser.prog)
    for name in [name for name in _ACTIONS if name in words] or _ACTIONS:
        text, describe_options = _ACTIONS[name]
        describe_options(actions.add_parser(name, help=text))
    return parser.parse_args(words)


def find_config(given: str | None) -> str:
    """The configuration named, or the only one there is."""
    if given:
        return given
    import glob

    found = sorted(glob.glob("/etc/*/floyo-release.json"))
    if len(found) == 1:
        return found[0]
    raise Unusable(
        f"{len(found) or 'no'} applications are configured on this host",
        code="CONFIG_UNUSABLE",
        expected="one /etc/*/floyo-release.json, or --config",
        next_step=f"floyo-release --config {found[0]} ..." if found else "ansible-playbook playbooks/provision.yml",
    )


def act(options: argparse.Namespace) -> dict[str, Any]:
    if options.action == "lease":
        from ..lease import act as act_on_lease

        return act_on_lease(options.state, options.options, check=options.check)
    if options.action == "migrations":
        from ..migrations.glue import migrate

        # A database's address is secret, and arguments are read by everybody.
        return migrate({**json.load(sys.stdin), "state": "info"}, check_mode=True)
    host = Host(Config.read(find_config(options.config)))
    if options.action == "sample":
        from ..process import cgroup, ring

        sample = cgroup.look(host.config.unit)["sample"]
        if sample is not None and not options.check:
            ring.append(options.ring, sample)
        return {"changed": sample is not None, "sample": sample}
    if options.action in ("info", "status"):
        return info(
            host,
            graphs=getattr(options, "graphs", False),
            health=not getattr(options, "without_health", False),
            program=digest_of(sys.argv[0]),
        )
    if options.action == "resume":
        return resume(host) or {"changed": False, "outcome": "nothing to resume"}
    if options.action == "pin":
        return pin(host, options.release, options.reason)
    if options.action == "unpin":
        return unpin(host, options.release)
    if options.action == "prune":
        return prune(host, keep=options.keep, needed=options.needed, check=options.check)
    target = options.release or previous_good(history(host), host.linked())
    if target is None:
        raise Unusable(
            "no earlier release has been proven good on this host",
            code="NO_PREVIOUS",
            next_step="floyo-release status, then floyo-release switch RELEASE",
        )
    return switch(
        host,
        target,
        token=options.token,
        holder=options.holder or _user(),
        reason=options.reason,
        kind=options.kind,
        check=options.check,
    )


def _user() -> str:
    import getpass

    return getpass.getuser()


def describe(facts: dict[str, Any]) -> str:
    """The status for a person at the host's own terminal."""
    current, intent = facts["current"], facts["intent"]
    lines = [f"runs      {current['release'] or 'nothing'}" + (f" (pid {current['pid']})" if current["pid"] else "")]
    if current["fault"]:
        lines.append(f"fault     {current['fault']}")
    if facts["link"] != current["release"]:
        lines.append(f"link      {facts['link'] or 'none'}: not what runs")
    if intent:
        lines.append(
            f"unfinished switch from {intent['from']} to {intent['to']} by {intent['holder']}: floyo-release resume"
        )
    lines.append(
        f"fence     {facts['fence']}; free {facts['disk_free'] / 2**30:.1f} of {facts['disk_total'] / 2**30:.1f} GiB"
    )
    lines += [
        f"release   {one['release']}  {one['state']}" + (f"  pinned: {one['pinned']}" if one["pinned"] else "")
        for one in sorted(facts["releases"], key=lambda one: -one["sequence"])
    ]
    for entry in facts["history"][-5:]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["at"]))
        lines.append(
            f"{when}  {entry['outcome']} {entry['from']} -> {entry['to']} by {entry['holder']}: {entry['reason']}"
        )
    return "\n".join(lines)


def main() -> int:
    options = parse(sys.argv[1:])
    if options.digest and options.digest != digest_of(sys.argv[0]):
        return OUTDATED
    try:
        result, code = act(options), 0
    except FloyoError as error:
        result, code = error.as_result(), 1
    if options.json:
        print(json.dumps(result, sort_keys=True))
    elif options.action == "status" and not code:
        print(describe(result))
    else:
        for key, value in result.items():
            text = "\n  ".join(["", *map(str, value)]) if isinstance(value, list) and value else value
            print(f"{key}: {text}", file=sys.stderr if code else sys.stdout)
    return code
