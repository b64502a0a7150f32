"""Action plugin floyo_notify: tells people through apprise. See library/floyo_notify.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                "urls": {"type": "list", "elements": "str", "no_log": True, "default": []},
                "title": {"type": "str", "default": ""},
                "body": {"type": "str", "required": True},
                "type": {"type": "str", "choices": ["info", "success", "warning", "failure"], "default": "info"},
                "required": {"type": "bool", "default": False},
                "timeout": {"type": "float", "default": 15.0},
            }
        )
        result: dict[str, Any] = super().run(tmp, task_vars)
        urls = [str(url).strip() for url in arguments["urls"] if str(url).strip()]
        # Telling somebody changes nothing on any host: a run that only tells stays without changes.
        result.update(changed=False, notified=0, results=[])
        if not urls:
            result.update(skipped=True, skip_reason="no URL is configured")
            return result
        # Every playbook that could tell somebody loads this plugin, and apprise takes longer to load than a task to run.
        from ansible.module_utils.floyo.notify import AVAILABLE, complaint, messages_to, plain

        if not AVAILABLE:
            raise AnsibleActionFail("the Python package apprise is not installed on the controller. Next: make setup.")
        title, body = plain(arguments["title"], arguments["body"])
        messages = messages_to(urls, arguments["timeout"])
        if self._task.check_mode:
            result.update(would_send={"title": title, "body": body, "type": arguments["type"]})
        else:
            for message in messages:
                message.send(title, body, arguments["type"])
        result["results"] = [message.outcome() for message in messages]
        result["notified"] = sum(item["sent"] for item in result["results"])
        sentence = complaint(result["results"])
        if sentence:
            if arguments["required"]:
                result.update(failed=True, msg=sentence)
            else:
                result["warnings"] = [sentence]
        return result
