"""Action plugin floyo_table: prints one short table and fails when told to. See library/floyo_table.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.color import ANSIBLE_COLOR, stringc
from ansible.utils.display import Display

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo import tables
from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.text import one_line

_COLOURS = {"good": "green", "doubtful": "yellow", "bad": "red"}

display = Display()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                "title": {"type": "str", "default": ""},
                "columns": {"type": "list", "elements": "raw", "default": []},
                "rows": {"type": "list", "elements": "raw", "required": True},
                "footer": {"type": "str", "default": ""},
                "width": {"type": "int"},
                "fail_msg": {"type": "str", "default": ""},
            }
        )
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            text = tables.render(
                tables.columns_of(arguments["columns"], arguments["rows"]),
                arguments["rows"],
                title=arguments["title"],
                footer=arguments["footer"],
                width=arguments["width"] or _terminal_width(),
                paint=_paint if ANSIBLE_COLOR else None,
            )
        except FloyoError as error:
            raise AnsibleActionFail(str(error)) from error
        display.display(f"\n{text}\n")
        # The table is the output: a callback that is asked for more shall not print its rows again.
        result.update(changed=False, _ansible_verbose_override=True)
        if arguments["fail_msg"].strip():
            result.update(failed=True, msg="\n".join(map(one_line, arguments["fail_msg"].splitlines())))
        else:
            result["rows"] = arguments["rows"]
        return result


def _terminal_width() -> int:
    """COLUMNS when it is set, else the terminal's width, else 80."""
    given = os.environ.get("COLUMNS", "")
    # Ansible keeps one column free, and takes 79 when there is no terminal.
    return max(int(given), 20) if given.isdecimal() else int(display.columns) + 1


def _paint(tone: str, text: str) -> str:
    return str(stringc(text, _COLOURS[tone]))
