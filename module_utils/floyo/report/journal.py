"""What a run of ansible-playbook did and when: filled by a callback, read by reports (pure).

``RUN`` is this process's journal. The callback writes into it in ansible-playbook's own process; an action plugin runs in a
fork of that and finds there what happened until its own task began.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

__all__ = ["RUN", "Journal", "Step", "timeline"]

_TONES = {"ok": "good", "changed": "good", "running": "unknown", "failed": "bad", "unreachable": "bad"}
# What only orders other tasks, or computes: nothing happens on a host.
_ORDERS = frozenset(("import_role", "import_tasks", "include_role", "include_tasks", "meta", "set_fact"))
# What a switch is called in a timeline: the name of the task, short.
_SWITCHED = "switched"
# Hosts beyond these are shown batch by batch only.
MAX_HOSTS = 300


@dataclasses.dataclass
class Step:
    """A task. ``hosts`` maps each host to [begin, end (None: it runs), word (ok, changed, failed, unreachable, skipped)]."""

    name: str
    phase: str
    play: str
    batch: int
    action: str
    state: str
    begin: float
    end: float | None = None
    hosts: dict[str, list[Any]] = dataclasses.field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Nobody did anything."""
        return all(word == "skipped" for _, _, word in self.hosts.values())

    @property
    def failed(self) -> bool:
        return any(word in ("failed", "unreachable") for _, _, word in self.hosts.values())


class Journal:
    """Steps in the order in which they began."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.play = ""
        self.batches: list[list[str]] = []
        self.steps: list[Step] = []
        self._open: dict[str, Step] = {}

    def start_playbook(self, at: float) -> None:
        """A run may have several playbooks; each is a story of its own."""
        self.began, self.play, self.batches, self.steps, self._open = at, "", [], [], {}

    def start_play(self, name: str, hosts: Sequence[str], *, continued: bool) -> None:
        """A play, or with ``continued`` the next batch of the one before."""
        self.batches = [*self.batches, list(hosts)] if continued else [list(hosts)]
        self.play = name

    def start_task(self, key: str, name: str, *, phase: str, action: str, state: str, at: float) -> None:
        self.end_task(at)
        step = Step(name, phase, self.play, len(self.batches), action, state, at)
        self.steps.append(step)
        self._open[key] = step

    def end_task(self, at: float) -> None:
        if self.steps and self.steps[-1].end is None:
            self.steps[-1].end = at

    def start_host(self, key: str, host: str, at: float) -> None:
        if step := self._open.get(key):
            step.hosts[host] = [at, None, "running"]

    def end_host(self, key: str, host: str, word: str, at: float) -> None:
        if step := self._open.get(key):
            entry = step.hosts.setdefault(host, [step.begin, None, word])
            entry[1:] = [at, word]


RUN = Journal()


def timeline(journal: Journal, now: float) -> list[dict[str, Any]]:
    """Rows of a report's timeline: the phases of each play in their order, then every host with its switches.

    Phases of a play that goes batch by batch are one row for each batch. What only orders or computes shows in none.
    """
    return [*_phases(journal), *_switches(journal, now)]


def _phases(journal: Journal) -> list[dict[str, Any]]:
    sizes: dict[tuple[str, int], set[str]] = {}
    rows: dict[tuple[str, int, str], dict[str, Any]] = {}
    batches: dict[str, int] = {}
    for step in journal.steps:
        batches[step.play] = max(batches.get(step.play, 1), step.batch)
    for step in journal.steps:
        if step.idle or step.end is None or step.action.rpartition(".")[2] in _ORDERS:
            continue  # nobody did anything; or it is the report itself
        split = batches[step.play] > 1
        key = (step.play, step.batch, "" if split else step.phase or step.name)
        hosts = sizes.setdefault((step.play, step.batch), set())
        hosts.update(step.hosts)
        label = f"{step.play.partition(',')[0]}: batch {step.batch}" if split else key[2]
        row = rows.setdefault(key, {"label": label, "spans": [], "result": "", "tone": "", "split": split})
        end = step.end
        # Blue while all goes well: green is for what was proven, host by host.
        tone = "bad" if step.failed else ""
        if tone:
            row.update(tone="bad", result="failed")
        last = row["spans"][-1] if row["spans"] else None
        # One stretch for what follows itself without a pause.
        if last and step.begin - last["end"] < 0.2 and last["tone"] == tone:
            last["end"] = end
        else:
            row["spans"].append({"begin": step.begin, "end": end, "label": step.name, "tone": tone})
    for (play, batch, _phase), row in rows.items():
        if row.pop("split"):
            hosts = sizes[play, batch]
            row["label"] += f" ({', '.join(sorted(hosts)) if len(hosts) <= 3 else f'{len(hosts)} hosts'})"
    return list(rows.values())


def _switches(journal: Journal, now: float) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for step in journal.steps:
        if step.state != _SWITCHED:
            continue
        for host, (begin, end, word) in step.hosts.items():
            if word == "skipped":
                continue
            row = rows.setdefault(host, {"label": host, "spans": []})
            row["spans"].append(
                {
                    "begin": begin,
                    "end": now if end is None else end,
                    "label": step.name,
                    "tone": _TONES.get(word, "unknown"),
                }
            )
            row.update(result=word if word in ("failed", "unreachable") else "", tone=_TONES.get(word, "unknown"))
    return list(rows.values())[:MAX_HOSTS]
