#!/usr/bin/python
"""Module vercel_deployment: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vercel_deployment
short_description: Deploys a frontend to Vercel, lets its domains lead to a deployment, and back
description:
  - Builds and uploads with Vercel's own command and without a domain, so that a deployment can be looked at before users
    see it. Everything else goes through Vercel's API.
  - A version that was deployed before is not built again, and what serves already is left alone.
attributes:
  check_mode:
    description: Can run in check mode and says what would be deployed, promoted or gone back to.
    support: full
    details: For O(state=deployed) the repository is fetched in check mode, too, since the version must be known.
  diff_mode:
    description: Shows what was or would be changed.
    support: none
  idempotent:
    description: A second run changes nothing.
    support: full
requirements:
  - requests
  - git and Vercel's command line program (C(npm install --global vercel)) for O(state=deployed)
options:
  state:
    description:
      - V(info) tells the deployment in production and the newest ones.
      - V(deployed) makes sure that a deployment of O(version) is ready, on no domain.
      - V(promoted) lets the project's domains lead to O(deployment).
      - V(rolled_back) lets them lead to O(deployment), or to the newest one before the present one that users have seen.
        Vercel then gives new deployments no domain until one is promoted.
    type: str
    choices: [info, deployed, promoted, rolled_back]
    default: info
  project:
    description: Name or id of the project at Vercel.
    type: str
    required: true
  org:
    description: Id of the team (C(team_...)) or of the account that has the project.
    type: str
    default: ""
  token:
    description: A token that may change the project.
    type: str
    required: true
  api_url:
    description: Address of Vercel's API.
    type: str
    default: https://api.vercel.com
  deployment:
    description: Id, address or version of a deployment.
    type: str
    default: ""
  repository:
    description: For O(state=deployed), the application's repository.
    type: str
  version:
    description: For O(state=deployed), a tag, a branch or a commit.
    type: str
  directory:
    description: For O(state=deployed), a directory on the host for the mirror, the build and its log.
    type: path
  root:
    description: The directory in the repository in which Vercel's command runs.
    type: str
    default: ""
  rebuild:
    description: Build a version again that was deployed before, since what is set at Vercel has changed.
    type: bool
    default: false
  vercel:
    description: Vercel's command line program.
    type: str
    default: vercel
  timeout:
    description: Seconds that one step at Vercel may take.
    type: float
    default: 900.0
  ca_path:
    description: A file with the certificate authorities to trust. Empty, the system's.
    type: path
    default: ""
author: floyo-ops
"""

EXAMPLES = r"""
- name: Build and upload, on no domain
  vercel_deployment:
    state: deployed
    project: floyo
    org: team_x1
    token: "{{ floyo_frontend_token }}"
    repository: https://git.example.com/floyo/floyo.git
    version: v1.4.0
    directory: /var/cache/floyo/frontend
    root: frontend
  register: made

- name: Let users see it
  vercel_deployment:
    state: promoted
    project: floyo
    org: team_x1
    token: "{{ floyo_frontend_token }}"
    deployment: "{{ made.deployment.id }}"

- name: Go back to what users saw before
  vercel_deployment:
    state: rolled_back
    project: floyo
    org: team_x1
    token: "{{ floyo_frontend_token }}"
"""

RETURN = r"""
deployment:
  description: The deployment that was made, found, promoted or gone back to. None in check mode when it would be made.
  type: dict
  returned: success
  contains:
    id: {description: Its id., type: str}
    url: {description: Its own address., type: str}
    created: {description: Milliseconds since 1970., type: int}
    version: {description: What it was made of., type: str}
    commit: {description: The commit., type: str}
    proven: {description: Whether users have seen it., type: bool}
    label: {description: Version or address., type: str}
    made: {description: When it was made., type: str}
    state: {description: serves, served, or on no domain., type: str}
from:
  description: The deployment in production before. None before the first promotion.
  type: dict
  returned: success
current:
  description: The deployment in production now.
  type: dict
  returned: success
deployments:
  description: The newest twenty that are ready for production.
  type: list
  elements: dict
  returned: success
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.module import run
from ansible.module_utils.floyo.vercel.glue import ARGUMENT_SPEC, REQUIRED_IF, deployment

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    return deployment(module.params, check=module.check_mode)


def main() -> None:
    run(work, argument_spec=ARGUMENT_SPEC, required_if=REQUIRED_IF, supports_check_mode=True)


if __name__ == "__main__":
    main()
