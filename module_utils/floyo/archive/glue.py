"""What module pg_archive does: base backups, a moment beside the live cluster, whether one may rely on it (glue)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Optional

from ..backup.condition import Check, verdict_of
from ..backup.judge import Space, parse_reserve
from ..backup.store import Store, explained
from ..errors import ConnectionLost, FloyoError, Refused, TimedOut, Unusable
from ..postgres.url import parse_url
from .account import Account
from .instance import Instance
from .judge import (
    Base,
    Limits,
    Window,
    base_type,
    bases_of,
    conditions,
    ended_early,
    newest_segment,
    require_reachable,
    window,
)
from .repository import Repository
from .side import PORT, Side
from .wal import Gap, end_of, gaps, parse_moment, position, stamp

__all__ = ["archive"]

_TICK = 0.2
_REPORT = 2.0
_DEFAULT_SEGMENT = 16 << 20
_SPACE_MARGIN = 1.1  # the log that is replayed comes beside the files


def archive(parameters: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Carry out the module's parameters and return its result; ``warnings`` are for the person."""
    work = _Archive(parameters, check_mode=check_mode)
    states = {
        "info": work.info,
        "checked": work.checked,
        "created": work.created,
        "present": work.present,
        "recovered": work.recovered,
        "discarded": work.discarded,
    }
    return {"warnings": work.warnings, **states[parameters["state"]]()}


class _Archive:
    def __init__(self, parameters: Mapping[str, Any], *, check_mode: bool) -> None:
        self.asked, self.check_mode = parameters, check_mode
        self.deadline = time.monotonic() + parameters["timeout"]
        self.account = Account(parameters["account"])
        self.repository = Repository(self.account, parameters["stanza"], parameters["config"])
        self.live = Instance(self.account, parameters["socket_directory"], parameters["port"])
        self.side = Side(self.account, parameters["scratch"])
        self.warnings: list[str] = []
        self.seconds: dict[str, float] = {}
        self.started = time.time()

    # --- looking ------------------------------------------------------------------------------------------------------

    def holes(self, live: Optional[Mapping[str, Any]]) -> list[Gap]:
        size = live["segment_size"] if live else _DEFAULT_SEGMENT
        return gaps(self.repository.segments(self.deadline), size)

    def info(self) -> dict[str, Any]:
        if not self.repository.configured():
            return {"changed": False, "configured": False, "bases": [], "moment": {}}
        info, live = self.repository.info(self.deadline), self.live.facts_if_up()
        bases = bases_of(info)
        return {
            "changed": False,
            "configured": True,
            "bases": [base.facts() for base in reversed(bases)],
            "from": stamp(bases[0].first) if bases else "",
            "window": vars(window(live, newest_segment(info))) if live and not live["in_recovery"] else {},
            "moment": self.side.record(),
        }

    def checked(self) -> dict[str, Any]:
        """Judge the archive against the limits. Changes nothing; fails when one is passed."""
        if not self.repository.configured():
            return {"changed": False, "configured": False, "verdict": "pass", "checks": []}
        given = self.asked["limits"] or {}
        unknown = sorted(set(given) - set(vars(Limits())))
        if unknown:
            raise Unusable(
                f"limits has no {', '.join(unknown)}", code="LIMITS_UNKNOWN", expected=", ".join(vars(Limits()))
            )
        info, live = self.repository.info(self.deadline), self.live.facts_if_up()
        checks = conditions(
            bases=bases_of(info),
            live=live,
            newest=newest_segment(info),
            holes=self.holes(live) if info else [],
            drill=self.last_drill(),
            limits=Limits(**{name: float(value) for name, value in given.items()}),
            now=time.time(),
        )
        if self.side.leftovers():
            step = "discard it when nobody looks at it any more: module pg_archive, state discarded"
            checks.append(Check("leftovers", "warn", f"a recovered moment in {self.side.directory}", step))
        verdict = verdict_of(checks)
        facts = {"configured": True, "verdict": verdict, "checks": [check.facts() for check in checks]}
        if verdict == "fail":
            bad = [check for check in checks if check.result == "fail"]
            raise Refused(
                "a restore to a moment cannot be relied on: "
                + "; ".join(f"{each.check}: {each.found}" for each in bad),
                code="ARCHIVE_UNFIT",
                expected="every limit kept",
                next_step="; ".join(dict.fromkeys(each.next for each in bad)),
                **facts,
            )
        self.warnings += [f"{each.check}: {each.found}" for each in checks if each.result == "warn"]
        return {"changed": False, **facts}

    def last_drill(self) -> dict[str, Any]:
        """Of the dumps of earlier moments, the newest that was restored: when, and how long all of it took."""
        store = Store(self.asked["directory"])
        manifests = store.catalogue().manifests
        best: dict[str, Any] = {}
        for entry in store.catalogue().entries:
            if not entry["drilled_at"]:
                continue
            at = _seconds(entry["drilled_at"])
            if at > best.get("at", 0.0):
                took = [
                    manifests[entry["label"]]["about"].get("recovery_seconds"),
                    entry["dump_seconds"],
                    entry["seconds"],
                ]
                best = {"at": at, "seconds": sum(float(part or 0.0) for part in took)}
        return best

    # --- base backups -------------------------------------------------------------------------------------------------

    def created(self) -> dict[str, Any]:
        """A place in the archive for this cluster. A configuration that is yet to come is no fault of a dry run."""
        if self.check_mode and not self.repository.configured():
            return {"changed": True}
        missing = not self.repository.info(self.deadline)
        if missing and not self.check_mode:
            self.repository.create(self.deadline)
        return {"changed": missing}

    def present(self) -> dict[str, Any]:
        """A base backup that is young enough."""
        if self.check_mode and not self.repository.configured():
            return {"changed": True, "kind": "full", "bases": []}
        bases = bases_of(self.repository.info(self.deadline))
        kind = base_type(bases, time.time(), max_age=self.asked["max_age"], full_every=self.asked["full_every"])
        if kind and not self.check_mode:
            self.created()
            begin = time.monotonic()
            self.repository.back_up(kind, self.deadline, lambda: None)
            self.seconds["base"] = round(time.monotonic() - begin, 1)
            bases = bases_of(self.repository.info(self.deadline))
        return {"changed": bool(kind), "kind": kind, "bases": [base.facts() for base in reversed(bases)]}

    # --- a moment beside the live cluster -----------------------------------------------------------------------------

    def recovered(self) -> dict[str, Any]:
        moment = parse_moment(self.asked["to"])
        url = parse_url(self.asked["database_url"])
        with self.side.lock(create=not self.check_mode):
            ready = self.side.record()
            if moment and ready.get("to") == self.asked["to"]:
                return {"changed": False, "plan": {}, "moment": {**ready, **self.found(ready["socket"], url)}}
            self.require_unused(ready)
            base = require_reachable(bases_of(self.repository.info(self.deadline)), moment, time.time())
            plan = self.plan(base)
            found = {} if self.check_mode else self.recover(moment, base, url)
        return {"changed": True, "plan": plan, "moment": found}

    def require_unused(self, ready: Mapping[str, Any]) -> None:
        """Somebody may be reading what an earlier run has recovered."""
        sessions = []
        with suppress(ConnectionLost):  # it is gone, or half of one
            sessions = Instance(self.account, ready["socket"], PORT).sessions() if ready else []
        if sessions:
            raise Refused(
                f"the moment {ready['to']} is recovered in {self.side.directory} and in use: {', '.join(sessions[:3])}",
                code="MOMENT_IN_USE",
                expected="nobody connected to it",
                next_step="wait for them; or discard it: module pg_archive, state discarded",
            )

    def plan(self, base: Base) -> dict[str, Any]:
        """What a recovery begins with, and that there is room for it."""
        need = int(base.size * _SPACE_MARGIN)
        place = os.path.dirname(self.side.directory) or "/"
        with explained(place):
            found = os.statvfs(place)
        space = Space(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)
        free = space.free + (self.side.size() if self.side.leftovers() else 0)
        reserve = parse_reserve(self.asked["min_free"], space.total)
        if free < need + reserve:
            raise Refused(
                f"{place} has {free >> 20} MiB free; the cluster needs about {need >> 20} MiB beside the live one,"
                f" and {reserve >> 20} MiB must stay free",
                code="DISK_FULL",
                expected=f"{(need + reserve) >> 20} MiB free",
                next_step="give it more room, or name a directory of another file system in scratch",
                free=free,
                needed=need + reserve,
            )
        return {"to": self.asked["to"], "base": base.label, "bytes": need, "free": free, "reserve": reserve}

    def recover(self, moment: Any, base: Base, url: Any) -> dict[str, Any]:
        self.side.remove()
        live = self.live.facts_if_up()
        newest = newest_segment(self.repository.info(self.deadline))
        loss = window(live, newest) if live else None
        if moment is not None:
            self.timed("flush", self.flush, live)
        self.side.prepare()
        try:
            report = _Report(self.side, {"since": self.started, "forecast": base.size})
            report.phase = "restore"
            self.timed(
                "restore",
                self.repository.restore,
                base.label,
                self.side.data,
                self.side.tablespaces,
                moment,
                self.deadline,
                report,
            )
            report.phase = "replay"
            socket = self.timed("replay", self.replay, moment, live["preload"] if live else "", report)
            found = self.found(socket, url)
            if moment is None:
                self.require_whole(found, newest, live)
        except BaseException:
            self.side.remove()
            raise
        record = {
            "to": self.asked["to"],
            "socket": socket,
            "base": base.label,
            "as_of": stamp(moment.timestamp()) if moment else found["reached"] or stamp(self.started),
            "seconds": round(sum(self.seconds.values()), 1),
            "phases": self.seconds,
            "loss": self.loss(loss),
        }
        self.side.finish(record)
        return {**record, **found}

    def timed(self, what: str, work: Any, *arguments: Any) -> Any:
        begin = time.monotonic()
        try:
            return work(*arguments)
        finally:
            self.seconds[what] = round(time.monotonic() - begin, 1)

    def loss(self, found: Optional[Window]) -> dict[str, Any]:
        """What the archive lacked of the live server when the recovery began: lost, had the host gone then."""
        return vars(found) if found else {}

    def flush(self, live: Optional[Mapping[str, Any]]) -> None:
        """The archive gets what the live server has written until now; without it, the last minutes cannot be had."""
        if live is None or live["in_recovery"] or live["archive_mode"] == "off":
            self.warnings.append("the live server does not archive now: what is in the archive has to do")
            return
        segment = self.live.close_segment()
        until = min(self.deadline, time.monotonic() + self.asked["archive_wait"])
        while newest_segment(self.repository.info(self.deadline)) < segment:
            if time.monotonic() >= until:
                self.warnings.append(f"segment {segment} was not archived within {self.asked['archive_wait']:g} s")
                return
            time.sleep(_TICK)

    def replay(self, moment: Any, preload: str, report: _Report) -> str:
        """Start the server and wait until it has come to the moment. Returns its socket's directory."""
        process, socket = self.side.start(preload, self.deadline)
        side = Instance(self.account, socket, PORT)
        try:
            while True:
                if process.poll() is not None:
                    raise self.explained_end(moment)
                with suppress(ConnectionLost):  # it is still starting
                    if not side.replayed()["recovering"]:
                        return socket
                if time.monotonic() >= self.deadline:
                    raise TimedOut(
                        "the log could not be replayed in time",
                        code="ARCHIVE_TIMEOUT",
                        expected="the whole run within timeout",
                        next_step="run again with a longer timeout; a younger base backup has less to replay",
                    )
                report()
                time.sleep(_TICK)
        except BaseException:
            self.side.stop(process)
            raise

    def explained_end(self, moment: Any) -> FloyoError:
        said = self.side.said()
        if "recovery ended before configured recovery target was reached" in said:
            info = self.repository.info(self.deadline)
            bases = bases_of(info)
            base = require_reachable(bases, moment, time.time())
            live = self.live.facts_if_up()
            holes = [hole for hole in self.holes(live) if hole.last >= base.wal_start]
            return ended_early(said, moment, holes, bases)
        lines = [line for line in said.splitlines() if "FATAL" in line or "PANIC" in line] or said.splitlines()
        return FloyoError(
            f"the recovered server ended: {lines[-1][:300] if lines else 'it said nothing'}",
            code="RECOVERY_FAILED",
            expected="a server at that moment",
            next_step="the lines of its log are in output_tail; the live cluster is as it was",
            output_tail="\n".join(said.splitlines()[-15:]),
        )

    def found(self, socket: str, url: Any) -> dict[str, Any]:
        """What the recovered server says of itself, and the URL of the database in it."""
        seen = Instance(self.account, socket, PORT).replayed()
        if url.database not in (seen["databases"] or {}):
            raise Refused(
                f"there was no database {url.database} at that moment",
                code="DATABASE_UNKNOWN_THEN",
                expected=f"one of {', '.join(sorted(seen['databases'] or {}))}",
                next_step="choose another moment",
            )
        owner = url.user if url.user in (seen["roles"] or []) else seen["databases"][url.database]
        return {
            "reached": stamp(seen["reached"]) if seen["reached"] else "",
            "lsn": seen["lsn"],
            "database_url": f"postgresql://{owner}@/{url.database}?host={socket}&port={PORT}",
        }

    def require_whole(self, found: Mapping[str, Any], newest: str, live: Optional[Mapping[str, Any]]) -> None:
        """A hole ends a recovery without a target as if the archive ended there: what came must reach the last segment."""
        size = live["segment_size"] if live else _DEFAULT_SEGMENT
        if newest and position(found["lsn"]) < end_of(newest, size) - size:
            raise ended_early(self.side.said(), None, self.holes(live), bases_of(self.repository.info(self.deadline)))

    def discarded(self) -> dict[str, Any]:
        with self.side.lock(create=not self.check_mode):
            found = self.side.leftovers()
            if found:
                self.require_unused(self.side.record())
                if not self.check_mode:
                    self.side.remove()
        return {"changed": bool(found)}


class _Report:
    """Says how far a recovery has come, not too often."""

    def __init__(self, side: Side, facts: Mapping[str, Any]) -> None:
        self._side, self._facts, self._next = side, facts, 0.0
        self.phase = ""

    def __call__(self) -> None:
        if time.monotonic() >= self._next:
            self._side.report({**self._facts, "phase": self.phase})
            self._next = time.monotonic() + _REPORT


def _seconds(text: str) -> float:
    moment = parse_moment(text)
    return moment.timestamp() if moment else 0.0
