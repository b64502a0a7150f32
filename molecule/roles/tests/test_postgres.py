"""floyo_postgres: who may connect and what each role may do, proven by trying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest
from testinfra.backend.base import CommandResult
from testinfra.host import Host

if TYPE_CHECKING:
    from molecule.conftest import Ansible, Fleet


class Database:
    """psql on the database host over TCP, from an address that may connect."""

    def __init__(self, fleet: Fleet, host: Host) -> None:
        self.host = host
        self.name = fleet.groups["floyo_database"][0]
        self.address = fleet.address(self.name)
        self.passwords = {
            "floyo": fleet.facts[self.name]["postgres_password"],
            "floyo_owner": fleet.facts[self.name]["owner_password"],
        }
        fleet.write(
            self.name,
            "/root/pgpass",
            "".join(f"*:*:*:{role}:{password}\n" for role, password in self.passwords.items()),
        )

    def run(self, role: str, sql: str, *, sslmode: str = "require", database: str = "floyo") -> CommandResult:
        return self.host.run(
            "PGPASSFILE=/root/pgpass psql -X -A -t -v ON_ERROR_STOP=1 -d %s -c %s",
            f"host={self.address} user={role} dbname={database} sslmode={sslmode}",
            sql,
        )

    def admin(self, sql: str, database: str = "postgres") -> str:
        return str(self.host.check_output("sudo -u postgres psql -X -A -t -d %s -c %s", database, sql))


@pytest.fixture(scope="module")
def db(fleet: Fleet, database: Host) -> Iterator[Database]:
    yield Database(fleet, database)
    database.check_output("rm /root/pgpass")


def test_connections_are_encrypted(db: Database) -> None:
    shown = db.run("floyo", "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert shown.stdout.startswith("t|TLSv1.")
    plain = db.run("floyo", "SELECT 1", sslmode="disable")
    assert "no encryption" in plain.stderr


def test_passwords_are_scram(db: Database) -> None:
    kinds = db.admin("SELECT DISTINCT split_part(rolpassword, '$', 1) FROM pg_authid WHERE rolname LIKE 'floyo%'")
    assert kinds == "SCRAM-SHA-256"


def test_the_server_keeps_no_statement_with_a_password(db: Database, ansible: Ansible) -> None:
    """Neither a slow one nor a failed one: its log and its statistics are read by more people than the vault."""
    db.admin("ALTER SYSTEM SET log_statement = 'all'")
    db.admin("ALTER SYSTEM SET log_min_duration_statement = 0")
    db.admin("SELECT pg_reload_conf()")
    try:
        db.admin("ALTER ROLE floyo PASSWORD NULL")
        done = ansible("ansible-playbook", "playbooks/provision.yml", "--tags=floyo_postgres_database")
        assert done.returncode == 0, done.stdout
    finally:
        db.admin("ALTER SYSTEM RESET ALL")
        db.admin("SELECT pg_reload_conf()")
    log = db.host.check_output("cat /var/log/postgresql/*.log; journalctl --no-pager -o cat")
    kept = db.admin("SELECT string_agg(query, ' ') FROM pg_stat_statements")
    assert "ALTER ROLE floyo PASSWORD NULL" in log
    assert [name for name, password in db.passwords.items() if password in log + kept] == []
    assert db.run("floyo", "SELECT 1").succeeded


def test_the_application_writes_rows_and_no_schema(db: Database) -> None:
    assert db.run("floyo_owner", "CREATE TABLE rights_probe (id serial PRIMARY KEY, note text)").succeeded
    try:
        work = "INSERT INTO rights_probe VALUES (1, 'a'); UPDATE rights_probe SET note = 'b'; DELETE FROM rights_probe"
        assert db.run("floyo", work).succeeded
        for sql, refusal in {
            "CREATE TABLE other (id int)": "permission denied for schema public",
            "ALTER TABLE rights_probe ADD COLUMN x int": "must be owner of table",
            "DROP TABLE rights_probe": "must be owner of table",
            "TRUNCATE rights_probe": "permission denied for table",
            "CREATE SCHEMA own": "permission denied for database",
            "CREATE TEMPORARY TABLE t (id int)": "permission denied to create temporary tables",
            "CREATE ROLE r": "permission denied to create role",
            "SELECT pg_read_file('/etc/passwd')": "permission denied for function",
        }.items():
            assert refusal in db.run("floyo", sql).stderr, sql
    finally:
        assert db.run("floyo_owner", "DROP TABLE rights_probe").succeeded


@pytest.mark.parametrize(("role", "createdb"), [("floyo", "f"), ("floyo_owner", "t")])
def test_no_role_is_more_than_it_needs(db: Database, role: str, createdb: str) -> None:
    """The owner restores backups into databases of its own."""
    rights = db.admin("SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles")
    assert f"{role}|f|f|{createdb}|f" in rights.splitlines()


def test_the_application_sees_no_other_database(db: Database) -> None:
    assert "no pg_hba.conf entry" in db.run("floyo", "SELECT 1", database="postgres").stderr


def test_an_unlisted_address_is_turned_away(fleet: Fleet, db: Database) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(
            f"host={db.address} user=floyo dbname=floyo sslmode=require connect_timeout=10",
            password=db.passwords["floyo"],
        )


def test_every_backend_is_admitted(fleet: Fleet, db: Database) -> None:
    admitted = db.admin("SELECT address FROM pg_hba_file_rules WHERE type = 'hostssl' AND 'floyo' = ANY (user_name)")
    assert {fleet.address(name) for name in fleet.groups["floyo_backend"]} <= set(admitted.splitlines())
    assert db.admin("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"


def test_settings_are_in_force(db: Database) -> None:
    assert db.admin("SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"
    assert db.admin("SHOW listen_addresses") == f"localhost,{db.address}"
    assert db.admin("SELECT count(*) > 0 FROM pg_stat_statements") == "t"


def test_key_is_not_for_everybody(database: Host) -> None:
    key = database.file(database.check_output("sudo -u postgres psql -XAtc 'SHOW ssl_key_file'"))
    assert key.mode & 0o007 == 0
