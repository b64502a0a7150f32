"""floyo-release: the host's own command, with or without a controller (standard library only)."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from typing import Any

from ..errors import FloyoError, Unusable
from .host import Config, Host
from .switch import history, previous_good, resume, status, switch

__all__ = ["main"]


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="floyo-release",
        description="What runs on this host, and how to serve another release.",
        epilog="Exit status: 0 done, 1 failed or refused (nothing changed, or the old release serves again), 2 usage.",
    )
    parser.add_argument("--config", default="/etc/floyo/floyo-release.json")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("status", help="release that runs, releases on disk, unfinished switch")
    actions.add_parser("resume", help="finish or undo a switch that was interrupted")
    for name, text in (("switch", "serve RELEASE"), ("rollback", "serve the last good release before this one")):
        action = actions.add_parser(name, help=text)
        action.add_argument("release", nargs=None if name == "switch" else "?")
        action.add_argument("--token", type=int, help="fencing token of the lease; a lower one than seen is refused")
        action.add_argument("--holder", default=getpass.getuser())
        action.add_argument("--reason", default="by hand")
    return parser.parse_args(words)


def act(options: argparse.Namespace) -> dict[str, Any]:
    host = Host(Config.read(options.config))
    if options.action == "status":
        return status(host)
    if options.action == "resume":
        return resume(host) or {"outcome": "nothing to resume"}
    target = options.release or previous_good(history(host), host.linked())
    if target is None:
        raise Unusable(
            "no earlier release has been proven good on this host",
            code="NO_PREVIOUS",
            next_step="floyo-release status, then floyo-release switch RELEASE",
        )
    return switch(host, target, token=options.token, holder=options.holder, reason=options.reason)


def main() -> int:
    options = parse(sys.argv[1:])
    try:
        result, code = act(options), 0
    except FloyoError as error:
        result, code = error.as_result(), 1
    if options.json:
        print(json.dumps(result, sort_keys=True))
    else:
        for key, value in result.items():
            text = "\n  ".join(["", *value]) if isinstance(value, list) and value else value
            print(f"{key}: {text}", file=sys.stderr if code else sys.stdout)
    return code
