"""The scheduled job: the modules that playbooks call, called on the host itself, one after the other (glue).

It has no way of its own to back up, drill or check: it runs ``pg_backup`` and ``pg_archive``, with the defaults of their
argument specs, and writes down what became of each.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Callable

from ..backup.store import Store
from ..errors import FloyoError, Unusable
from ..files import read_json, write_json
from ..text import shorten
from .record import due, line_of, progress_line

__all__ = ["Job", "call", "filled"]

_TYPES: dict[str, Any] = {"str": str, "path": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
_SAID = 500


class _Stopped(BaseException):
    """systemd ends the job: no further step is begun."""


class _Asked:
    """What a module's ``work`` needs of AnsibleModule."""

    check_mode = False

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def filled(arguments: Mapping[str, Any], spec: Mapping[str, Any], module: str) -> dict[str, Any]:
    """Arguments with the module's defaults; what it does not know is an error, as with Ansible."""
    unknown = sorted(set(arguments) - set(spec))
    if unknown:
        raise Unusable(
            f"{module} has no {', '.join(unknown)}",
            code="SETTINGS_UNUSABLE",
            expected=", ".join(sorted(spec)),
            next_step="run playbooks/provision.yml: program and settings belong together",
        )
    found = {}
    for name, option in spec.items():
        value = arguments.get(name, option.get("default"))
        try:
            found[name] = value if value is None else _TYPES[option["type"]](value)
        except (TypeError, ValueError) as error:
            raise Unusable(f"{name} of {module} is no {option['type']}", code="SETTINGS_UNUSABLE") from error
    return found


def call(module: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a module returns; its warnings are among it. A failure is a FloyoError."""
    code = importlib.import_module(module)
    asked = _Asked(filled(arguments, code.ARGUMENTS, module))
    result: dict[str, Any] = code.work(asked)
    return {**result, "warnings": asked.warnings}


class Job:
    """One run. ``say`` writes a line into the journal."""

    def __init__(
        self, settings: Mapping[str, Any], say: Callable[[str], None], module: Callable[..., dict[str, Any]] = call
    ) -> None:
        self.settings, self.say, self.module = settings, say, module
        self.dumps: dict[str, Any] = settings["pg_backup"]
        self.archive: dict[str, Any] = settings["pg_archive"]
        # Dumps of moments can be made again: they stay here.
        self.moments = {**self.dumps, "directory": f"{self.dumps['directory']}/moments", "remote": ""}
        self.path = settings["record"]
        try:
            before = read_json(self.path, {})
        except ValueError:
            before = {}  # a crash has cut it short: everything is due
        self.record: dict[str, Any] = {"succeeded": before.get("succeeded", {}), "steps": {}, "began": time.time()}
        self.record["owner"] = {"pid": os.getpid()}

    def run(self) -> bool:
        """All steps, whatever became of the others; what must not follow a failure asks for itself. True: all well."""
        self.save()
        signal.signal(signal.SIGTERM, _stop)
        try:
            with _watching(self):
                self.steps()
        except _Stopped:
            self.say("stopped")
        self.record["ended"] = time.time()
        self.save()
        return all(step["result"] == "ok" for step in self.record["steps"].values())

    def steps(self) -> None:
        archives = self.step("look", self.look)
        self.step("backup", self.back_up)
        if archives:
            self.step("base backup", self.base)
        readable = self.dumps.get("identity_file") or not self.dumps.get("recipients")
        if not readable:
            self.say("no drill: the dumps are encrypted and their key is not on this host; playbooks/restore_drill.yml")
        if readable and due(self.record, "drill", time.time(), self.settings["drill_hours"]):
            self.step("drill", lambda: self.module("pg_backup", {**self.dumps, "state": "drilled"}))
        if readable and archives and due(self.record, "moment drill", time.time(), self.settings["drill_hours"]):
            self.step("moment drill", self.moment)
        if self.settings["prune"] and self.went_well("backup"):
            self.step("prune", self.prune)
        self.step("check", self.check)
        if archives:
            self.step("archive check", self.check_archive)

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        begin = time.monotonic()
        outcome: dict[str, Any] = {"result": "ok", "said": "", "code": ""}
        result: Any = None
        try:
            result = work()
            if isinstance(result, dict):
                outcome["said"] = shorten("; ".join(result.get("warnings", [])), _SAID)
        except _Stopped:
            outcome.update(result="failed", said="stopped by SIGTERM", code="STOPPED")
        except FloyoError as error:
            outcome.update(result="failed", said=shorten(str(error), _SAID), code=error.code)
        except Exception as error:  # noqa: BLE001 - a defect in one step shall be written down and not hide the others
            outcome.update(result="failed", said=f"a defect: {type(error).__name__}: {shorten(error)}", code="DEFECT")
        now = time.time()
        self.record["steps"][name] = {**outcome, "at": now, "seconds": round(time.monotonic() - begin, 1)}
        if outcome["result"] == "ok":
            self.record["succeeded"][name] = now
        self.say(line_of(name, self.record["steps"][name]))
        self.save()
        if outcome["code"] == "STOPPED":
            raise _Stopped
        return result

    def went_well(self, name: str) -> bool:
        return bool(self.record["steps"][name]["result"] == "ok")

    def save(self) -> None:
        write_json(self.path, self.record, mode=0o644)

    # --- the steps ----------------------------------------------------------------------------------------------------

    def look(self) -> bool:
        return bool(self.module("pg_archive", {**self.archive, "state": "info"})["configured"])

    def back_up(self) -> dict[str, Any]:
        return self.module("pg_backup", {**self.dumps, "state": "present", "about": {"reason": "scheduled"}})

    def base(self) -> dict[str, Any]:
        return self.module("pg_archive", {**self.archive, **self.settings["base"], "state": "present"})

    def moment(self) -> dict[str, Any]:
        """As if the host had just been lost: what the archive holds is recovered, dumped, and the dump restored."""
        moment = self.module("pg_archive", {**self.archive, "state": "recovered", "to": "latest"})["moment"]
        try:
            about = {"as_of": moment["as_of"], "recovery_seconds": moment["seconds"], "reason": "drill of the archive"}
            given = {"database_url": moment["database_url"], "accept_shrink": True, "about": about}
            taken = self.module("pg_backup", {**self.moments, **given, "state": "present"})
        finally:
            self.module("pg_archive", {**self.archive, "state": "discarded"})
        drilled = self.module("pg_backup", {**self.moments, "state": "drilled", "label": taken["backup"]["label"]})
        keep = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}
        # Without the URL: databases that a restore has kept are the ordinary prune's matter.
        self.module("pg_backup", {**self.moments, "database_url": "", "state": "pruned", "keep": keep})
        return drilled

    def prune(self) -> dict[str, Any]:
        """Which revisions the hosts' releases need is known to the controller only: here, one of each stays."""
        return self.module(
            "pg_backup", {**self.dumps, **self.settings["prune"], "state": "pruned", "needed_heads": ["all"]}
        )

    def check(self) -> dict[str, Any]:
        return self.module("pg_backup", {**self.dumps, "state": "checked", "limits": self.settings["limits"]})

    def check_archive(self) -> dict[str, Any]:
        return self.module(
            "pg_archive",
            {
                **self.archive,
                "state": "checked",
                "directory": self.moments["directory"],
                "limits": self.settings["archive_limits"],
            },
        )

    # --- how far it has come ------------------------------------------------------------------------------------------

    def progress(self) -> list[str]:
        """Of whatever is at work in the directories, as its own notes say."""
        found = [*Store(self.dumps["directory"]).running(), *Store(self.moments["directory"]).running()]
        with suppress(ValueError):
            aside = read_json(f"{self.archive['scratch']}/running.json", {})
            found += [aside] if aside else []
        return [progress_line(record, time.time()) for record in found]


class _watching:
    """A line for the journal now and then, while the block works in this thread."""

    def __init__(self, job: Job) -> None:
        self._job, self._over = job, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(self._job.settings["progress_seconds"]):
            with suppress(FloyoError, OSError):  # it is only told
                for line in self._job.progress():
                    self._job.say(line)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _stop(_number: int, _frame: Any) -> None:
    raise _Stopped
