"""A PostgreSQL server of this host, asked by psql as its own account: no password is needed (client)."""

from __future__ import annotations

import glob
import json
import time
from typing import Any, Optional

from ..backup.programs import PLACES
from ..errors import ConnectionLost
from .account import Account, find_program

__all__ = ["Instance", "server_places"]

_FACTS = """
SELECT json_build_object(
  'now', extract(epoch FROM clock_timestamp()),
  'started', extract(epoch FROM pg_postmaster_start_time()),
  'version_num', current_setting('server_version_num')::int,
  'in_recovery', pg_is_in_recovery(),
  'lsn', CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END,
  'segment_size', (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size'),
  'archive_mode', current_setting('archive_mode'),
  'archive_timeout', (SELECT setting::int8 FROM pg_settings WHERE name = 'archive_timeout'),
  'preload', current_setting('shared_preload_libraries'),
  'waiting', (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  'written', (SELECT coalesce(json_object_agg(name, extract(epoch FROM modification)), '{}')
              FROM pg_ls_waldir() WHERE length(name) = 24),
  'archiver', (SELECT json_build_object(
    'archived_count', archived_count, 'last_archived_wal', last_archived_wal,
    'last_archived_time', extract(epoch FROM last_archived_time),
    'failed_count', failed_count, 'last_failed_wal', last_failed_wal,
    'last_failed_time', extract(epoch FROM last_failed_time)) FROM pg_stat_archiver))
"""
_REPLAYED = """
SELECT json_build_object(
  'reached', extract(epoch FROM pg_last_xact_replay_timestamp()), 'lsn', pg_last_wal_replay_lsn(),
  'recovering', pg_is_in_recovery(),
  'databases', (SELECT json_object_agg(datname, pg_get_userbyid(datdba)) FROM pg_database),
  'roles', (SELECT json_agg(rolname) FROM pg_roles WHERE rolcanlogin))
"""


def server_places(major: int = 0) -> list[str]:
    """Directories of the server's programs, of one version or of all, the newest first."""
    found = [place for pattern in PLACES for place in glob.glob(pattern)]
    numbered = sorted(
        found, key=lambda place: [int(word) for word in place.replace("-", "/").split("/") if word.isdigit()]
    )
    return [place for place in reversed(numbered) if not major or f"/{major}/" in place or f"-{major}/" in place]


class Instance:
    def __init__(self, account: Account, socket_directory: str, port: int) -> None:
        self._account, self._directory, self._port = account, socket_directory, port

    def ask(self, statement: str, *, timeout: float = 30.0) -> Any:
        """One statement that answers with one JSON value."""
        argv = [find_program(server_places(), "psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-h", self._directory]
        argv += ["-p", str(self._port), "-U", self._account.entry.pw_name, "-d", "postgres", "-c", statement]
        done = self._account.run(argv, deadline=time.monotonic() + timeout)
        if done.status:
            raise ConnectionLost(
                f"the server at {self._directory}, port {self._port}, does not answer: {' '.join(done.errors.split())[:300]}",
                code="SERVER_UNREACHABLE",
                expected="a server that its own account may ask",
                next_step="systemctl status postgresql; pg_lsclusters",
            )
        return json.loads(done.output) if done.output.strip() else None

    def facts(self) -> dict[str, Any]:
        return dict(self.ask(_FACTS))

    def facts_if_up(self) -> Optional[dict[str, Any]]:
        try:
            return self.facts()
        except ConnectionLost:
            return None

    def replayed(self) -> dict[str, Any]:
        return dict(self.ask(_REPLAYED))

    def sessions(self) -> list[str]:
        """Who is connected besides us."""
        return list(
            self.ask(
                "SELECT coalesce(json_agg(format('pid %s (%s, user %s)', pid, coalesce(nullif(application_name, ''),"
                " 'unnamed'), usename)), '[]') FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        )

    def close_segment(self) -> str:
        """Write a commit and end the segment, so that the archive gets all that was written until now. Its name."""
        self.ask("SELECT to_json(pg_current_xact_id()::text)")
        return str(self.ask("SELECT to_json(pg_walfile_name(pg_switch_wal()))"))
