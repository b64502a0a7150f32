"""Packs the host program on the controller and returns its bytes."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: floyo_host_program
short_description: Packs the host program and returns its bytes in base64
description:
  - Runs C(scripts/pack_host_program), whose result depends on the sources only, and returns what it packed.
  - A lookup and not a task, so that it needs no run_once, which the free strategy does not know. Hosts at the same
    time do not disturb each other, since the file appears by a rename.
options:
  _terms:
    description: One directory on the controller for the packed file.
    required: true
  program:
    description: Which one.
    choices: [floyo-release, floyo-backup, floyo-metrics]
    default: floyo-release
"""

_ROOT = Path(__file__).resolve().parents[2]
_SCRIPTS = (_ROOT / "scripts" / "pack_host_program", _ROOT / "scripts" / "pack_host_program.py")


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        script = next((path for path in _SCRIPTS if path.is_file()), None)
        if script is None:
            raise AnsibleLookupError(f"{_SCRIPTS[0]} is missing: the checkout is not complete. Next: git status.")
        directory = Path(terms[0])
        directory.mkdir(parents=True, exist_ok=True)
        self.set_options(var_options=variables, direct=kwargs)
        program = str(self.get_option("program"))
        target = directory / f"{program}.pyz"
        words = [sys.executable, str(script), str(target), program]
        packed = subprocess.run(words, capture_output=True, text=True, check=False)
        if packed.returncode != 0:
            raise AnsibleLookupError(f"{script.name} failed with {packed.returncode}: {packed.stderr.strip()}")
        return [base64.b64encode(target.read_bytes()).decode()]
