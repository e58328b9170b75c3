"""The memory of verified tokens: bounded in entries and in size, least recently used out first."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.principal import Principal, ScopeSet
from gateway.identity.remembered import Remembered

from .scene import PATIENTLY


def principal(name: str = "c") -> Principal:
    return Principal(
        issuer="https://id.example",
        client_id=name,
        subject=None,
        patient=None,
        scope_texts=(),
        scopes=ScopeSet(),
        claims={},
        expires_at=100.0,
        enforce_scopes=True,
    )


def keep(memory: Remembered, digest: bytes, *, until: float = 100.0, size: int = 1_000) -> None:
    memory.keep(digest, principal(digest.decode()), generation=1, until=until, size=size)


def test_found_until_its_time() -> None:
    memory = Remembered(2)
    keep(memory, b"a")
    assert memory.find(b"a", 99.9) == (principal("a"), 1)
    assert memory.find(b"b", 99.9) is None
    assert memory.find(b"a", 100.0) is None
    assert len(memory) == 0


def test_least_recently_used_goes_first() -> None:
    memory = Remembered(2)
    keep(memory, b"a")
    keep(memory, b"b")
    assert memory.find(b"a", 0)
    keep(memory, b"c")
    assert memory.find(b"b", 0) is None
    assert memory.find(b"a", 0)
    assert memory.find(b"c", 0)


def test_large_tokens_leave_room_for_fewer() -> None:
    memory = Remembered(10)
    for digest in (b"a", b"b", b"c"):
        keep(memory, digest, size=8_000)
    assert [memory.find(digest, 0) is not None for digest in (b"a", b"b", b"c")] == [False, True, True]
    keep(memory, b"d", size=100_000)
    assert len(memory) == 0
    keep(memory, b"e")
    assert memory.find(b"e", 0)


def test_to_remember_nothing() -> None:
    memory = Remembered(0)
    keep(memory, b"a")
    assert memory.find(b"a", 0) is None


@PATIENTLY
@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), st.integers(0, 6_000), st.sampled_from("kffd")))
)
def test_never_past_its_bounds(steps: list[tuple[bytes, int, str]]) -> None:
    memory = Remembered(3)
    for digest, size, step in steps:
        if step == "k":
            keep(memory, digest, size=size)
        elif step == "d":
            memory.forget(digest)
        else:
            memory.find(digest, 0)
        entries = memory._entries.values()
        assert len(memory) <= 3
        assert sum(entry.size for entry in entries) == 3 * 2_048 - memory._room <= 3 * 2_048
