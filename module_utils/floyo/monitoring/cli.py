"""floyo-metrics: what the units of monitoring run on a host (glue)."""

from __future__ import annotations

import argparse
import sys
from typing import Optional

from .. import notify
from ..errors import FloyoError, Unusable
from ..host_settings import read_settings, say
from .collect import collect
from .receiver import serve

__all__ = ["main"]


def main(words: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="floyo-metrics", description="Figures and alerts of this host")
    parser.add_argument("--settings", required=True, help="what playbooks/provision.yml has written")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("collect", help="write what the node exporter reads, as the timer does")
    verbs.add_parser("alerts", help="take Alertmanager's messages and tell people")
    asked = parser.parse_args(words)
    try:
        settings = read_settings(asked.settings)
        if asked.verb == "collect":
            collect(settings, say)
            return 0
        if not notify.AVAILABLE:
            raise Unusable("Python's apprise is missing", code="APPRISE_MISSING", next_step="apt-get install apprise")
        serve(settings, say).serve_forever()
        return 0
    except (FloyoError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
