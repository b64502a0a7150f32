"""Action plugin floyo_notify: tells people through apprise. See library/floyo_notify.py."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.text import one_line

try:
    import apprise
except ImportError:
    apprise = None

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,19})://")


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
        if apprise is None:
            raise AnsibleActionFail("the Python package apprise is not installed on the controller. Next: make setup.")
        title = one_line(arguments["title"])
        body = "\n".join(one_line(line) for line in arguments["body"].splitlines())
        messages = [_Message(index, url, arguments["timeout"]) for index, url in enumerate(urls)]
        if self._task.check_mode:
            result.update(would_send={"title": title, "body": body, "type": arguments["type"]})
        else:
            for message in messages:
                message.send(title, body, arguments["type"])
        result["results"] = [message.outcome() for message in messages]
        result["notified"] = sum(item["sent"] for item in result["results"])
        failed = [item for item in result["results"] if item["reason"]]
        if failed:
            sentence = (
                f"{len(failed)} of {len(urls)} notifications cannot be sent: "
                + "; ".join(f"URL {item['index']} ({item['scheme']}): {item['reason']}" for item in failed)
                + ". Next: check the URLs, counted from 0, with the command apprise."
            )
            if arguments["required"]:
                result.update(failed=True, msg=sentence)
            else:
                result["warnings"] = [sentence]
        return result


class _Message:
    """One URL and what became of the message to it. The URL itself holds secrets and is shown nowhere."""

    def __init__(self, index: int, url: str, timeout: float) -> None:
        matched = _SCHEME.match(url)
        self._index = index
        self._timeout = timeout
        self._deadline = 0.0
        self._logged: list[str] = []
        self._sent: bool | None = None
        self._reason = ""
        self._thread: threading.Thread | None = None
        # Sequential: the thread below is the only one, and a daemon, so that a service that hangs cannot keep Ansible.
        self._service = apprise.Apprise.instantiate(url, asset=apprise.AppriseAsset(async_mode=False))
        self._scheme = matched.group(1).lower() if matched and self._service else "unknown"
        if self._service is None:
            self._reason = "is not a URL that apprise knows"
        else:
            self._service.socket_connect_timeout = self._service.socket_read_timeout = timeout

    def send(self, title: str, body: str, kind: str) -> None:
        if self._service is not None:
            self._deadline = time.monotonic() + self._timeout
            self._thread = threading.Thread(target=self._deliver, args=(title, body, kind), daemon=True)
            self._thread.start()

    def outcome(self) -> dict[str, Any]:
        if self._thread is not None:
            self._thread.join(max(0.0, self._deadline - time.monotonic()))
            if self._thread.is_alive():
                self._reason = f"no answer within {self._timeout:g} s"
            elif not self._sent:
                self._reason = self._reason or _reason("\n".join(self._logged))
        return {
            "index": self._index,
            "scheme": self._scheme,
            "sent": bool(self._sent) and not self._reason,
            "reason": self._reason,
        }

    def _deliver(self, title: str, body: str, kind: str) -> None:
        sender = apprise.Apprise()
        sender.add(self._service)
        try:
            sent = sender.notify(
                body=body,
                title=title,
                notify_type=kind,
                body_format=apprise.NotifyFormat.TEXT,
                log_callback=lambda entry, _service: self._logged.append(entry.message),
            )
            self._sent = bool(sent)
        except Exception as error:  # noqa: BLE001 - a service's plugin may raise anything; only its kind is safe to show
            self._reason = f"apprise failed with {type(error).__name__}"


def _reason(logged: str) -> str:
    """Why apprise says that it failed. Its sentences may hold parts of the URL: only what is safe is taken."""
    status = re.search(r"\berror=(\d{3})\b", logged)
    if status:
        return f"the service answered {status.group(1)}"
    return "the service cannot be reached" if "onnection error" in logged else "the service did not take it"
