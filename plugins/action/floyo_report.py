"""Action plugin floyo_report: writes a page for people and JSON for machines. See library/floyo_report.py."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ansible.module_utils
import jinja2
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.report import document, history, redact
from ansible.module_utils.floyo.report.journal import RUN, timeline
from ansible.module_utils.floyo.report.shelf import Shelf

display = Display()
# How far back the levels of a page go.
_EARLIER = 200


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        _validated, given = self.validate_argument_spec(
            argument_spec={
                "state": {"type": "str", "choices": ["present", "index"], "default": "present"},
                "kind": {"type": "str"},
                "title": {"type": "str"},
                "application": {"type": "str", "required": True},
                "environment": {"type": "str", "required": True},
                "directory": {"type": "path", "required": True},
                "keep": {"type": "int", "default": 1000},
                "report": {"type": "dict"},
            },
            required_if=[("state", "present", ["kind", "title", "report"])],
        )
        result: dict[str, Any] = super().run(tmp, task_vars)
        # A page on the controller changes nothing of what is managed: a run that only looks stays without changes.
        result.update(changed=False, page="", data="")
        try:
            result.update(self._index(given) if given["state"] == "index" else self._report(given, task_vars or {}))
        except (FloyoError, OSError, jinja2.TemplateError) as error:
            # What the report is about has happened; a page that is missing must not hide how it ended.
            result["warnings"] = [f"The report cannot be written: {error}"]
        return result

    def _report(self, given: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        made = self._document(given, variables)
        if self._task.check_mode:
            return {}
        page, data = Shelf(given["directory"]).put(made, keep=given["keep"])
        display.display(f"Report: {_shown(page)}")
        return {"page": page, "data": data}

    def _index(self, given: dict[str, Any]) -> dict[str, Any]:
        shelf = Shelf(given["directory"])
        documents, strange = shelf.documents()
        made = history.index(
            documents,
            application=given["application"],
            environment=given["environment"],
            now=time.time(),
            strange=strange,
        )
        rows = [
            {
                "when": one["began"],
                "what": one["kind"],
                "result": one.get("word"),
                "title": one.get("title"),
                "name": one["name"],
            }
            for one in documents
        ]
        return {"reports": rows, "page": "" if self._task.check_mode else shelf.put_index(made)}

    def _document(self, given: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        report = given["report"]
        now = time.time()
        sections = [
            {**section, "rows": timeline(RUN, now)}
            if isinstance(section, Mapping) and section.get("type") == "timeline" and "rows" not in section
            else section
            for section in report.get("sections") or ()
        ]
        if "levels" in (report.get("facts") or {}):
            sections += self._levels(given, now)
        made = document.made(
            kind=given["kind"],
            title=given["title"],
            application=given["application"],
            environment=given["environment"],
            began=RUN.began or now,
            ended=now,
            verdict=report.get("verdict", "unknown"),
            word=report.get("word", ""),
            summary=report.get("summary", ""),
            facts=report.get("facts"),
            sections=sections,
        )
        hidden: dict[str, Any] = redact.hide(made, redact.secret_values(self._secret(variables)))
        return hidden

    def _levels(self, given: dict[str, Any], now: float) -> list[dict[str, Any]]:
        """This report's levels behind those of the reports before it."""
        earlier, _ = Shelf(given["directory"]).documents(given["kind"], limit=_EARLIER)
        this = {"began": document.moment(now), "facts": {"levels": given["report"]["facts"]["levels"]}}
        return history.levels_over_time([this, *earlier])

    def _secret(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The variables whose names say that they are secret, with their values."""
        found = {}
        for name in filter(redact.is_secret, variables):
            try:
                found[name] = self._templar.template(variables[name])
            except AnsibleError:
                continue  # it leans on something that this host does not have, and so cannot be in its results
        return found


def _shown(path: str) -> str:
    """The path as one would type it here."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
