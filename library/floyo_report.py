#!/usr/bin/python
"""Documentation of floyo_report, which is an action plugin: plugins/action/floyo_report.py."""

DOCUMENTATION = r"""
module: floyo_report
short_description: Writes one page for people and JSON for machines on the controller
description:
  - Runs on the controller. The page is one HTML file without scripts that asks for nothing else; the JSON beside it
    follows C(docs/report.schema.json). C(docs/reports.md) describes the sections.
  - Text from anywhere is shown as text. Values of secret variables and passwords in URLs are replaced.
  - A report that cannot be written is a warning and never a failure, so that it does not hide how a command ended.
  - With several hosts, set C(run_once) on the task.
attributes:
  check_mode:
    description: Can run in check mode and then writes nothing.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: Nothing that is managed changes.
  idempotent:
    description: A second run changes nothing.
    support: none
    details: Each run is a report of its own.
options:
  state:
    description: A report (C(present)), or C(index.html) with all that are there (C(index)).
    type: str
    choices: [present, index]
    default: present
  kind:
    description: What was done, as a word for file names and the index, for example C(deploy).
    type: str
  title:
    description: The heading.
    type: str
  application:
    description: The application's name.
    type: str
    required: true
  environment:
    description: For example C(production).
    type: str
    required: true
  directory:
    description: Where the files go. It is made when it is missing.
    type: path
    required: true
  keep:
    description: How many reports stay in the directory; the oldest go. V(0) keeps all.
    type: int
    default: 1000
  report:
    description:
      - C(verdict) is C(good), C(doubtful), C(bad) or C(unknown), or a word of findings or of M(floyo_health); of a list the
        worst counts. C(word) says how it ended, C(summary) is a sentence, C(facts) are for machines and the index, then
        come C(sections).
      - A section is a mapping with C(type) (C(tiles), C(table), C(findings), C(timeline), C(lines), C(bars) or C(text)),
        C(title), C(intro), C(folded) and what its type needs.
      - A plot over time of each of C(facts.levels), from the reports of this kind that are there, comes last.
      - A C(timeline) without C(rows) is filled with what this run has done so far.
    type: dict
author: floyo-ops
"""

EXAMPLES = r"""
- name: Write the page
  floyo_report:
    kind: health
    title: "{{ floyo_name }} {{ floyo_environment }}: health"
    application: "{{ floyo_name }}"
    environment: "{{ floyo_environment }}"
    directory: "{{ floyo_report_dir }}"
    report:
      verdict: doubtful
      word: degraded
      summary: backend2 answers slowly.
      facts: {hosts: 3, healthy: 2}
      sections:
        - type: tiles
          title: At a glance
          tiles:
            - {label: healthy, value: 2 of 3, tone: doubtful}
        - type: table
          title: Hosts
          columns: [host, verdict, summary]
          rows:
            - {host: backend1, verdict: healthy, summary: ""}
            - {host: backend2, verdict: degraded, summary: readiness took 1900 ms}
  run_once: true
"""

RETURN = r"""
page:
  description: The path of the page. Empty in check mode, or when it could not be written.
  type: str
  returned: always
data:
  description: The path of the JSON.
  type: str
  returned: always
reports:
  description: What is there, newest first, as mappings with C(when), C(what), C(result), C(title) and C(name).
  type: list
  returned: with O(state=index)
"""
