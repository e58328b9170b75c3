"""Payloads at rest: what opens, what does not, and where keys come from."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.sealing import Sealer, Unreadable, derived_key, key_beside, keys_in, sealer_for

OLD, NEW = b"o" * 32, b"n" * 32


@given(plain=st.binary(max_size=300), decision_id=st.text(max_size=20), column=st.sampled_from(["body", "facts"]))
def test_what_was_sealed_opens(plain: bytes, decision_id: str, column: str) -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal(plain, decision_id, column)
    assert sealer.open(sealed, decision_id, column) == plain
    assert Sealer([NEW, OLD]).open(sealed, decision_id, column) == plain
    assert sealed != sealer.seal(plain, decision_id, column), "never the same nonce"


def test_a_value_opens_only_where_it_was_sealed_and_as_it_was() -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal(b"payload", "d1", "body")
    assert b"payload" not in sealed
    for decision_id, column in (("d2", "body"), ("d1", "prior_body"), ("", "bodyd1")):
        with pytest.raises(Unreadable):
            sealer.open(sealed, decision_id, column)
    for place in range(len(sealed)):
        changed = bytes(byte ^ (index == place) for index, byte in enumerate(sealed))
        with pytest.raises(Unreadable):
            sealer.open(changed, "d1", "body")
    for length in range(len(sealed)):
        with pytest.raises(Unreadable):
            sealer.open(sealed[:length], "d1", "body")


def test_plain_text_in_the_place_of_a_sealed_value_does_not_pass() -> None:
    with pytest.raises(Unreadable) as unreadable:
        Sealer([OLD]).open(b'{"forged":"by somebody who can write the file"}', "d1", "body")
    assert "forged" not in str(unreadable.value)


def test_an_unknown_key_is_named() -> None:
    sealer = Sealer([OLD])
    with pytest.raises(Unreadable) as unreadable:
        Sealer([NEW]).open(sealer.seal(b"", "d1", "body"), "d1", "body")
    assert sealer.newest in str(unreadable.value)


def test_key_files() -> None:
    assert keys_in(OLD) == (OLD,)
    assert keys_in(base64.b64encode(NEW) + b"\n" + base64.b64encode(OLD)) == (NEW, OLD)
    for wrong in (b"", b"\n", b"o" * 31, base64.b64encode(b"o" * 31), base64.b64encode(OLD) + b"\nx", b"o" * 64):
        with pytest.raises(ValueError, match="must"):
            keys_in(wrong)


def test_a_key_is_made_beside_a_journal_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    first = sealer_for(None, journal)
    key = key_beside(journal)
    assert key.stat().st_mode & 0o777 == 0o600
    assert sealer_for(None, journal).newest == first.newest
    assert [path.name for path in tmp_path.iterdir()] == [key.name]


def test_a_configured_key_seals_and_the_one_made_before_still_opens(tmp_path: Path) -> None:
    journal, configured = tmp_path / "journal.db", tmp_path / "key"
    configured.write_bytes(NEW)
    assert sealer_for(configured, journal).newest == Sealer([NEW]).newest
    assert not key_beside(journal).exists()
    sealed = sealer_for(None, journal).seal(b"before", "d1", "body")
    both = sealer_for(configured, journal)
    assert both.newest == Sealer([NEW]).newest
    assert both.open(sealed, "d1", "body") == b"before"


def test_other_keys_come_from_the_newest_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(NEW)
    derived = derived_key(tmp_path / "key", "one")
    assert len(derived) == 32
    assert len({derived, NEW, derived_key(tmp_path / "key", "two")}) == 3
