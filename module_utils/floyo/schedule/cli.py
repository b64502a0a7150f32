"""floyo-backup: the scheduled job of a database host, for its units and for people on that host (glue)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, Optional

from .. import notify
from ..errors import FloyoError, Unusable
from ..host_settings import read_settings, say
from .job import Job, call
from .record import message_of
from .unit import look

__all__ = ["main"]


def main(words: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="floyo-backup", description="Scheduled backups of this host")
    parser.add_argument("--settings", required=True, help="what playbooks/provision.yml has written")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="back up, drill, prune, check, as the timer does")
    verbs.add_parser("tell", help="send the last failure to the notification URLs")
    verbs.add_parser("status", help="how the last run went, as JSON; exit status 1 when not well")
    verb = verbs.add_parser("module", help='one module, such as: module pg_backup \'{"state": "info"}\'')
    verb.add_argument("name", choices=["pg_archive", "pg_backup"])
    verb.add_argument("arguments", type=json.loads)
    asked = parser.parse_args(words)
    try:
        settings = read_settings(asked.settings)
        if asked.verb == "run":
            return 0 if Job(settings, say).run() else 1
        if asked.verb == "tell":
            return _tell(settings)
        if asked.verb == "status":
            found = look(settings["name"], settings["record"], settings["late_hours"])
            say(json.dumps(found))
            return 1 if found["problem"] else 0
        given = {**settings[asked.name], **asked.arguments}
        say(json.dumps(call(asked.name, given)))
        return 0
    except FloyoError as error:
        print(error, file=sys.stderr)
        return 1


def _tell(settings: dict[str, Any]) -> int:
    """Fails when somebody could not be told: that, too, is seen in the list of failed units."""
    urls = settings["notify_urls"]
    verdict = look(settings["name"], settings["record"], settings["late_hours"])
    title, body = notify.plain(*message_of(settings["title"], os.uname().nodename, verdict))
    say(f"{title}: {body}")
    if not urls:
        say("no notification URL is configured")
        return 0
    if not notify.AVAILABLE:
        raise Unusable("Python's apprise is missing", code="APPRISE_MISSING", next_step="apt-get install apprise")
    messages = notify.messages_to(urls, settings["notify_timeout"])
    for message in messages:
        message.send(title, body, "failure")
    sentence = notify.complaint([message.outcome() for message in messages])
    if sentence:
        say(sentence)
    return 1 if sentence else 0
