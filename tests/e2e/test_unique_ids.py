"""Unique ids from another server are what UIDL answers, also after a restart; other messages keep their own."""

from __future__ import annotations

import poplib
import ssl
from pathlib import Path

import pytest

from tests.e2e.conftest import Account
from tests.e2e.test_reading_clients import put_in

pytestmark = pytest.mark.e2e


def unique_ids(account: Account) -> list[str]:
    context = ssl.create_default_context(cafile=str(account.certificate))
    pop = poplib.POP3_SSL("localhost", account.server.port("pop3s"), context=context, timeout=60)
    pop.user(account.address)
    pop.pass_(account.password)
    listed = [line.split()[1].decode() for line in pop.uidl()[1]]
    assert [pop.uidl(n).split()[2].decode() for n in range(1, len(listed) + 1)] == listed
    pop.quit()
    return listed


def test_they_are_told(account: Account, tmp_path: Path) -> None:
    put_in(account)
    before = unique_ids(account)
    file = tmp_path / "ids.csv"
    file.write_text("uid,uidl\n1,0000000158a3f9c1\n3,UID3-17\n")
    account.server.run("mailbox", "uidl", "import", account.address, str(file))
    assert unique_ids(account) == ["0000000158a3f9c1", before[1], "UID3-17"]
