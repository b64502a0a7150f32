#!/usr/bin/python
"""Documentation of floyo_notify, which is an action plugin: plugins/action/floyo_notify.py."""

DOCUMENTATION = r"""
module: floyo_notify
short_description: Tells people through the services that apprise knows
description:
  - Sends one message to every URL at the same time, from the controller. Which services there are is apprise's
    matter, such as Slack, mail, Teams, Matrix or a plain webhook.
  - A URL holds the service's secrets, so results and warnings name it by its number, counted from 0, and its scheme.
  - With several hosts, set C(run_once) on the task; otherwise each host sends its message.
attributes:
  check_mode:
    description: Can run in check mode, then sends nothing, and returns what it would send.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: Nothing is changed.
  idempotent:
    description: A second run changes nothing.
    support: none
    details: Each run sends the message again. It is never counted as a change, since it changes no host.
requirements:
  - apprise on the controller
options:
  urls:
    description: apprise URLs. Without any, the task is skipped.
    type: list
    elements: str
    default: []
  title:
    description: The subject, on one line.
    type: str
    default: ""
  body:
    description: The message, as plain text. Control characters become blanks.
    type: str
    required: true
  type:
    description: How the message is meant. Services show it as a colour or a sign.
    type: str
    choices: [info, success, warning, failure]
    default: info
  required:
    description: Whether a message that cannot be sent fails the task. Otherwise it is a warning.
    type: bool
    default: false
  timeout:
    description: Seconds that one service may take.
    type: float
    default: 15.0
author: floyo-ops
"""

EXAMPLES = r"""
- name: Tell the team
  floyo_notify:
    urls: "{{ floyo_notify_urls }}"
    title: Floyo v1.1.0 is deployed
    body: 3 backends switched, 0 requests lost.
    type: success
  run_once: true
"""

RETURN = r"""
notified:
  description: How many services took the message.
  type: int
  returned: always
results:
  description: One entry for each URL.
  type: list
  elements: dict
  returned: always
  contains:
    index:
      description: The number of the URL, counted from 0.
      type: int
    scheme:
      description: The scheme of the URL, or C(unknown).
      type: str
    sent:
      description: Whether the service took the message.
      type: bool
    reason:
      description: Why not; empty when it was sent, or would be.
      type: str
would_send:
  description: The message, in check mode.
  type: dict
  returned: in check mode, with at least one URL
"""
