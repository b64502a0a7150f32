"""pgBackRest: what the archive holds, base backups, restores (client: one stanza)."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any, Callable, Optional

from ..errors import FloyoError, Refused, Unusable
from .account import Account, Done, find_program
from .judge import reason
from .wal import segments, sql_time

__all__ = ["Repository"]

_PLACES = ("/usr/bin", "/usr/local/bin")
_LOCK_ERROR = 50
_MOST_PROCESSES = 4


class Repository:
    def __init__(self, account: Account, stanza: str, config: str) -> None:
        self._account, self._stanza, self._config = account, stanza, config

    def configured(self) -> bool:
        """Whether this host keeps this archive; on a shared server it may be another application's."""
        try:
            with open(self._config, encoding="utf-8") as stream:
                return f"[{self._stanza}]" in stream.read().splitlines()
        except FileNotFoundError:
            return False

    def info(self, deadline: float) -> dict[str, Any]:
        """The stanza, as ``pgbackrest info`` has it; empty before it is made."""
        answer = json.loads(self._run("info", ["--output=json"], deadline).output)
        found = [each for each in answer if each["name"] == self._stanza]
        # Code 1 is "missing stanza path", 2 "no valid backups", 3 "missing stanza data": all but damage.
        return dict(found[0]) if found and found[0]["status"]["code"] in (0, 2) else {}

    def create(self, deadline: float) -> None:
        self._run("stanza-create", [], deadline)

    def segments(self, deadline: float) -> list[str]:
        listed = json.loads(
            self._run("repo-ls", ["--recurse", "--output=json", f"archive/{self._stanza}"], deadline).output
        )
        return segments(listed)

    def back_up(self, kind: str, deadline: float, progress: Callable[[], None]) -> None:
        self._run("backup", [f"--type={kind}", "--start-fast"], deadline, progress)

    def restore(
        self,
        base: str,
        target: str,
        tablespaces: str,
        moment: Optional[datetime],
        deadline: float,
        progress: Callable[[], None],
    ) -> None:
        """Into an empty directory. Nothing that is recovered there may write into the archive."""
        options = [
            f"--set={base}",
            f"--pg1-path={target}",
            f"--tablespace-map-all={tablespaces}",
            "--archive-mode=off",
            f"--process-max={min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))}",
        ]
        if moment is None:
            options.append("--type=default")
        else:
            options += ["--type=time", f"--target={sql_time(moment)}", "--target-action=promote"]
        self._run("restore", options, deadline, progress)

    def _run(
        self, command: str, options: list[str], deadline: float, progress: Callable[[], None] = lambda: None
    ) -> Done:
        if not self.configured():
            raise Unusable(
                f"{self._config} names no archive {self._stanza}: this host keeps none",
                code="ARCHIVE_OFF",
                expected="continuous archiving (floyo_postgres_archive)",
                next_step="set it and run playbooks/provision.yml; or is this not the database host?",
            )
        argv = [find_program(_PLACES, "pgbackrest"), f"--config={self._config}"]
        argv += [] if command == "repo-ls" else [f"--stanza={self._stanza}"]
        argv += ["--log-level-console=off", "--log-level-stderr=warn", command, *options]
        done = self._account.run(argv, deadline=deadline, progress=progress)
        if done.status == _LOCK_ERROR:
            raise Refused(
                f"another pgbackrest is at work on stanza {self._stanza}",
                code="LOCK_HELD",
                expected="one at a time",
                next_step="wait for it (pgbackrest info), then run the same command again",
            )
        if done.status:
            raise FloyoError(
                f"pgbackrest {command} failed: {reason(done.errors or done.output)}",
                code="PGBACKREST_FAILED",
                expected="status 0",
                next_step="pgbackrest check, as user postgres; what was archived before is untouched",
                status=done.status,
            )
        return done
