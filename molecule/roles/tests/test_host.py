"""floyo_host: user, directories, logs, trusted certificates."""

from __future__ import annotations

import pytest
from testinfra.host import Host


@pytest.mark.parametrize(
    ("path", "mode", "group"),
    [
        ("/etc/floyo", 0o755, "root"),
        ("/srv/floyo", 0o755, "root"),
        ("/srv/floyo/releases", 0o755, "root"),
        ("/var/lib/floyo", 0o750, "adm"),
        ("/var/log/floyo", 0o755, "adm"),
    ],
)
def test_directories_belong_to_root(backend: Host, path: str, mode: int, group: str) -> None:
    directory = backend.file(path)
    assert directory.is_directory
    assert (directory.user, directory.group, directory.mode) == ("root", group, mode)


def test_backups_are_for_root_alone(database: Host) -> None:
    directory = database.file("/var/backups/floyo")
    assert (directory.user, directory.mode) == ("root", 0o700)


def test_the_service_user_cannot_log_in(backend: Host) -> None:
    user = backend.user("floyo")
    assert user.shell == "/usr/sbin/nologin"
    assert user.password in ("!", "!!", "*")


def test_only_backends_have_the_service_user(proxy: Host) -> None:
    assert not proxy.user("floyo").exists


def test_log_configuration_is_accepted(backend: Host) -> None:
    assert backend.run("rsyslogd -N1").succeeded
    rotation = backend.run("logrotate --debug /etc/logrotate.conf")
    assert rotation.succeeded
    assert "/var/log/floyo/app.log" in rotation.stderr
    assert "error:" not in rotation.stderr


def test_rotation_goes_on_in_a_new_file(backend: Host) -> None:
    backend.check_output("systemd-cat -t floyo-backend echo before-rotation")
    backend.check_output("timeout 10 sh -c 'until grep -q before-rotation /var/log/floyo/app.log; do sleep 0.1; done'")
    backend.check_output("logrotate --force /etc/logrotate.d/floyo")
    backend.check_output("systemd-cat -t floyo-backend echo after-rotation")
    backend.check_output("timeout 10 sh -c 'until grep -q after-rotation /var/log/floyo/app.log; do sleep 0.1; done'")
    log = backend.file("/var/log/floyo/app.log")
    assert (log.group, log.mode) == ("adm", 0o640)
    assert not log.contains("before-rotation")


def test_every_certificate_of_the_bundle_is_trusted(backend: Host) -> None:
    if not backend.file("/usr/local/share/ca-certificates/floyo.bundle").exists:
        pytest.skip("the controller has no bundle to pass on")
    untrusted = backend.check_output(
        "cd $(mktemp -d)"
        " && csplit -szf part- /usr/local/share/ca-certificates/floyo.bundle '/-BEGIN CERTIFICATE-/' '{*}'"
        " && for part in part-*; do grep -q BEGIN $part || continue;"
        " hash=$(openssl x509 -in $part -noout -subject_hash); test -e /etc/ssl/certs/$hash.0 || echo $part; done"
    )
    assert untrusted == ""
