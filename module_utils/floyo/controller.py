"""What plugins on the controller share: the host program in one light remote execution, and names of tasks."""

from __future__ import annotations

import functools
import hashlib
import json
import shlex
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any, Optional

from ansible.playbook.task_include import TaskInclude

from .errors import Unusable

__all__ = ["ask_program", "phase_of", "program_digest", "short_name"]

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "/usr/bin/floyo-release"
# Exit statuses of the host program that speak JSON; anything else means that it is not there or not ours.
_ANSWERED = (0, 1)


def ask_program(action: Any, words: Sequence[str], *, sent: Optional[str] = None) -> Optional[dict[str, Any]]:
    """What the host program answers, ``failed`` included; None when it is not there or not ours: the module must do it.

    ``action`` is the action plugin, whose connection and check mode are used. ``sent`` goes to its standard input: what is
    secret must not be a word of a command.
    """
    head = [_PROGRAM, "--json", "--digest", program_digest(), *(["--check"] if action._task.check_mode else [])]
    given = {} if sent is None else {"in_data": sent.encode()}
    done = action._low_level_execute_command(shlex.join([*head, *words]), sudoable=True, **given)
    if done["rc"] not in _ANSWERED:
        return None
    try:
        # A login message or a warning of sudo may come before the answer.
        answer = json.loads(done["stdout"].strip().splitlines()[-1])
    except (IndexError, ValueError):
        return None
    if not isinstance(answer, dict):
        return None
    if done["rc"]:
        answer.update(failed=True, changed=answer.get("outcome") == "reverted")
    return answer


@functools.cache
def program_digest() -> str:
    """sha256 of the host program that these sources make."""
    loader = SourceFileLoader("floyo_pack_host_program", str(_ROOT / "scripts" / "pack_host_program"))
    spec = spec_from_loader(loader.name, loader)
    if spec is None:
        raise Unusable(f"{loader.path} cannot be loaded", expected="a whole checkout", next_step="git status")
    module = module_from_spec(spec)
    loader.exec_module(module)
    return hashlib.sha256(module.pack()).hexdigest()


def short_name(task: Any) -> str:
    """A task's name without that of its role."""
    return str(task.get_name()).strip().rpartition(" : ")[2]


def phase_of(task: Any) -> str:
    """What the playbook calls the step that a task belongs to: the outermost include or import around it."""
    phase, parent = "", task._parent
    while parent is not None:
        if isinstance(parent, TaskInclude) and parent.name:
            phase = short_name(parent)
        parent = getattr(parent, "_parent", None)
    return phase
