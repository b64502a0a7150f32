"""The directory of reports on the controller: pages, their JSON, and the index (controller only)."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any

from ..errors import Unusable
from ..files import read_json, write_atomic, write_json
from . import page
from .document import SCHEMA, stem

__all__ = ["INDEX", "Shelf"]

INDEX = "index.html"
_REPORT = re.compile(r"\d{8}T\d{6}Z-(?P<kind>[a-z][a-z_]*)(?:-\d+)?\.json")
# Reports name hosts and what is wrong with them: for the owner and the group.
_MODE = 0o640
_DIRECTORY_MODE = 0o750


class Shelf:
    def __init__(self, directory: str) -> None:
        self.directory = directory

    def put(self, document: Mapping[str, Any], *, keep: int = 0) -> tuple[str, str]:
        """Write a document and its page; returns the paths of page and JSON. The JSON comes last: it is what counts.

        Of all reports the newest ``keep`` stay; 0 keeps all.
        """
        os.makedirs(self.directory, mode=_DIRECTORY_MODE, exist_ok=True)
        name = self._free(stem(document))
        page_path, data_path = (os.path.join(self.directory, f"{name}.{ending}") for ending in ("html", "json"))
        index = INDEX if os.path.exists(os.path.join(self.directory, INDEX)) else ""
        text = page.render(document, data=f"{name}.json", index=index)
        write_atomic(page_path, text.encode("utf-8", "replace"), mode=_MODE)
        write_json(data_path, document, mode=_MODE)
        if keep > 0:
            for name in [name for name in self._names() if _REPORT.fullmatch(name)][keep:]:
                # The page first: the JSON is what the index finds.
                for ending in ("html", "json"):
                    with contextlib.suppress(FileNotFoundError):  # another run removes the same ones
                        os.unlink(os.path.join(self.directory, f"{name[: -len('.json')]}.{ending}"))
        return page_path, data_path

    def put_index(self, document: Mapping[str, Any]) -> str:
        os.makedirs(self.directory, mode=_DIRECTORY_MODE, exist_ok=True)
        path = os.path.join(self.directory, INDEX)
        write_atomic(path, page.render(document).encode("utf-8", "replace"), mode=_MODE)
        return path

    def documents(self, kind: str = "", *, limit: int = 0) -> tuple[list[dict[str, Any]], list[str]]:
        """Every report with its ``name``, newest first; and the names of files that are none.

        Of one kind when it is given, and then at most ``limit`` of them are read.
        """
        found: list[dict[str, Any]] = []
        strange = []
        for name in self._names():
            report = _REPORT.fullmatch(name)
            if kind and not (report and report["kind"] == kind):
                continue
            if limit and len(found) >= limit:
                break
            try:
                read = read_json(os.path.join(self.directory, name))
            except ValueError:
                read = None
            if isinstance(read, dict) and read.get("schema") == SCHEMA and read.get("kind"):
                found.append({**read, "name": name[: -len(".json")]})
            else:
                strange.append(name)
        return found, strange

    def _names(self) -> list[str]:
        """The JSON files, newest first."""
        names = os.listdir(self.directory) if os.path.isdir(self.directory) else []
        return sorted((name for name in names if name.endswith(".json") and not name.startswith(".")), reverse=True)

    def _free(self, name: str) -> str:
        """Two runs may begin in the same second."""
        for number in range(1, 1000):
            free = name if number == 1 else f"{name}-{number}"
            if not os.path.exists(os.path.join(self.directory, f"{free}.json")):
                return free
        raise Unusable(f"{self.directory} is full of reports named {name}", code="REPORT_NAME", expected="a free name")
