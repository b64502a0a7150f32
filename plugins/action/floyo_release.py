"""Action plugin floyo_release: the short way to a host for what must be fast, and the artifact's way. See library/floyo_release.py."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import tempfile
import time
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_ROOT = Path(__file__).resolve().parents[2]
_SHARED = str(_ROOT / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.controller import ask_program
from ansible.module_utils.floyo.release.git import split_address

# Artifacts on the controller; an older one is fetched again.
_KEPT = 20
_QUICK = {
    "info": ("graphs", "health"),
    "switched": ("release", "token", "holder", "reason", "kind"),
    "pruned": ("keep", "needed"),
}


class ActionModule(ActionBase):
    # True would make a directory on every host first; the states that need one make it themselves.
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        state = arguments.get("state")
        if arguments.get("repository"):
            # What a module is given goes to the host's log, unless it is known to be secret.
            address, account = split_address(str(arguments["repository"]))
            arguments.update(repository=address, **({"credentials": account} if account else {}))
        quick = self._quickly(arguments) if state in _QUICK else None
        if quick is not None:
            return quick
        try:
            result = self._module(arguments, task_vars)
            if state == "built" and not result.get("failed") and result.get("release"):
                self._bring(result["artifact"], arguments, task_vars)
            if state == "staged" and result.get("needs_artifact") and not arguments.get("artifact_url"):
                source = self._send(arguments)
                result = self._module({**arguments, "source": source}, task_vars)
            return result
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _module(self, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="floyo_release", module_args=arguments, task_vars=task_vars
        )
        return result

    # --- the host program ---------------------------------------------------------------------------------------------

    def _quickly(self, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """Let the host program do it, in one remote execution; None when the module must."""
        state = arguments["state"]
        known = {"state", "config", *_QUICK[state]}
        if not known.issuperset(arguments) or arguments.get("release") == "previous":
            return None
        if state == "switched" and not arguments.get("release"):
            return None
        words = ["--config", str(arguments["config"])] if arguments.get("config") else []
        begin = time.time()
        answer = ask_program(self, words + _verb(state, arguments))
        if answer is None:
            return None
        if "clock" in answer:
            # Against the middle of the exchange; half of its length is how far off this may be.
            spent = time.time() - begin
            answer.update(clock_offset=round(answer["clock"] - begin - spent / 2, 3), clock_doubt=round(spent / 2, 3))
        return answer

    # --- the artifact -------------------------------------------------------------------------------------------------

    def _kept(self, artifact: dict[str, Any], arguments: dict[str, Any]) -> Path:
        if not arguments.get("fetched"):
            raise AnsibleActionFail(
                "floyo_release needs fetched, the controller's directory of artifacts, or artifact_url."
            )
        return Path(arguments["fetched"], os.path.basename(artifact["path"]))

    def _bring(self, artifact: dict[str, Any], arguments: dict[str, Any], task_vars: Any) -> None:
        """Fetch the artifact to the controller, once."""
        if arguments.get("artifact_url") or self._task.check_mode or not arguments.get("fetched"):
            return
        kept = self._kept(artifact, arguments)
        if kept.exists() and _digest(kept) == artifact["sha256"]:
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Root's file, and a connection that may be somebody else's.
        remote = self._connection._shell.join_path(self._directory(), "artifact")
        user = self._connection.get_option("remote_user") if self._connection.has_option("remote_user") else None
        owner = ["-o", str(user)] if user and self._play_context.become else []
        copied = self._low_level_execute_command(
            shlex.join(["install", "-m", "0600", *owner, artifact["path"], remote]), sudoable=True
        )
        if copied["rc"]:
            raise AnsibleActionFail(
                f"{artifact['path']} cannot be copied on the build host: {copied['stderr'].strip()}"
            )
        with tempfile.NamedTemporaryFile(dir=kept.parent, prefix=".fetching-", delete=False) as stream:
            partial = Path(stream.name)
        try:
            self._connection.fetch_file(remote, str(partial))
            if _digest(partial) != artifact["sha256"]:
                raise AnsibleActionFail(
                    f"The artifact {kept.name} came damaged from the build host. Next: run the same command again."
                )
            partial.rename(kept)
            for old in sorted(kept.parent.glob("*.tar.zst"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
                old.unlink()
        finally:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()

    def _send(self, arguments: dict[str, Any]) -> str:
        kept = self._kept(arguments["artifact"], arguments)
        if not kept.exists():
            raise AnsibleActionFail(f"{kept} is missing on the controller. Next: run the build (state: built) again.")
        remote = self._connection._shell.join_path(self._directory(), kept.name)
        self._transfer_file(str(kept), remote)
        return str(remote)

    def _directory(self) -> str:
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        return str(self._connection._shell.tmpdir)


def _verb(state: str, arguments: dict[str, Any]) -> list[str]:
    """The program's words for a state of the module."""
    if state == "info":
        words = ["--graphs"] if boolean(arguments.get("graphs", False)) else []
        return ["info", *words, *([] if boolean(arguments.get("health", True)) else ["--without-health"])]
    if state == "pruned":
        names = arguments.get("needed") or []
        names = names.split(",") if isinstance(names, str) else names
        needed = [word for name in names for word in ("--needed", str(name).strip())]
        return ["prune", "--keep", str(arguments.get("keep", 5)), *needed]
    words = ["switch", str(arguments["release"])]
    for key in ("token", "holder", "reason", "kind"):
        if arguments.get(key) not in (None, ""):
            # One word: a reason may begin with a dash.
            words.append(f"--{key}={arguments[key]}")
    return words


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
