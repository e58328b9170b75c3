"""The log writes every record once, one line each, and says so when it cannot."""

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from gateway.observe.decision_log import DecisionLog, LogSettings, installation_key
from gateway.observe.log_sink import FileSink, StreamSink
from tests.observe.records import full_record


class Counts:
    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.waiting: list[int] = []

    def decision_log(self, sink: str, result: str, count: int = 1) -> None:
        self.results[f"{sink} {result}"] += count

    def decision_log_queue(self, sink: str, waiting: int) -> None:
        self.waiting.append(waiting)


def log_to(path: Path | None, counts: Counts, settings: LogSettings | None = None) -> DecisionLog:
    return DecisionLog(path, counts, key=b"k" * 32, instance="i", version="v", settings=settings)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_record_is_one_line(tmp_path: Path) -> None:
    path, counts = tmp_path / "decisions.log", Counts()
    log = log_to(path, counts)
    log.start()
    for number in range(1000):
        log.write(full_record(decision_id=f"id-{number}"))
    log.stop()
    assert [line["decision_id"] for line in lines(path)] == [f"id-{number}" for number in range(1000)]
    assert counts.results == {"file written": 1000}
    assert counts.waiting[-1] == 0
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text",
    ["a\nb", "a\r\nb", "\x1b[31mred", '"}\n{"decision": "allow', "${jndi:ldap://x}", "\u202egnirts", "x" * 10**6],
)
def test_no_text_can_break_a_line(tmp_path: Path, text: str) -> None:
    path, counts = tmp_path / "decisions.log", Counts()
    log = log_to(path, counts)
    log.start()
    log.write(full_record(client_id=text))
    log.stop()
    raw = path.read_bytes()
    assert raw.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in raw[:-1])
    assert lines(path)[0]["client_id"] == text


def test_records_are_appended_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "decisions.log"
    for _ in range(2):
        log = log_to(path, Counts())
        log.start()
        log.write(full_record())
        log.stop()
    assert len(lines(path)) == 2


def test_a_rotated_file_is_opened_anew(tmp_path: Path) -> None:
    path, counts = tmp_path / "decisions.log", Counts()
    log = log_to(path, counts)
    log.start()
    log.write(full_record(decision_id="before"))
    _until(lambda: counts.results["file written"] == 1)
    path.rename(tmp_path / "decisions.log.1")
    log.write(full_record(decision_id="after"))
    log.stop()
    assert [line["decision_id"] for line in lines(path)] == ["after"]
    assert [line["decision_id"] for line in lines(tmp_path / "decisions.log.1")] == ["before"]


def test_a_failing_sink_turns_accepting_off_and_loses_nothing_when_it_recovers(tmp_path: Path) -> None:
    folder, counts = tmp_path / "logs", Counts()
    folder.mkdir()
    log = log_to(folder / "decisions.log", counts)
    log.start()
    assert log.accepting
    (folder / "decisions.log").unlink()
    folder.rename(tmp_path / "gone")
    log.write(full_record(decision_id="kept"))
    _until(lambda: not log.accepting)
    assert counts.results["file failed"] == 1
    (tmp_path / "gone").rename(folder)
    _until(lambda: log.accepting)
    log.stop()
    assert [line["decision_id"] for line in lines(folder / "decisions.log")] == ["kept"]


def test_what_cannot_be_written_until_the_end_is_counted(tmp_path: Path) -> None:
    folder, counts = tmp_path / "logs", Counts()
    folder.mkdir()
    log = log_to(folder / "decisions.log", counts, LogSettings(flush_seconds=0.1))
    log.start()
    (folder / "decisions.log").unlink()
    folder.rename(tmp_path / "gone")
    log.write(full_record())
    log.stop()
    assert counts.results["file dropped"] + counts.results["file failed"] >= 1


def test_a_full_queue_waits_then_drops_and_counts(tmp_path: Path) -> None:
    counts = Counts()
    log = log_to(tmp_path / "decisions.log", counts, LogSettings(records=2, wait_seconds=0.05))
    log.write(full_record())
    log.write(full_record())
    assert not log.accepting
    log.write(full_record())
    assert counts.results == {"file dropped": 1}


def test_a_queue_is_bounded_in_bytes_too(tmp_path: Path) -> None:
    counts = Counts()
    log = log_to(tmp_path / "decisions.log", counts, LogSettings(bytes=100, wait_seconds=0.05))
    log.write(full_record(body=b"x" * 100))
    assert not log.accepting


def test_a_full_queue_lets_a_waiting_writer_in_when_it_drains(tmp_path: Path) -> None:
    path, counts = tmp_path / "decisions.log", Counts()
    log = log_to(path, counts, LogSettings(records=1, wait_seconds=5))
    log.write(full_record())
    threading.Timer(0.1, log.start).start()
    log.write(full_record())
    log.stop()
    assert len(lines(path)) == 2


def test_a_log_that_never_started_can_be_stopped(tmp_path: Path) -> None:
    log = log_to(tmp_path / "decisions.log", Counts())
    log.stop()
    assert not (tmp_path / "decisions.log").exists()


def test_standard_output_is_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    read_end, write_end = os.pipe()
    saved = os.dup(1)
    os.dup2(write_end, 1)
    try:
        sink = StreamSink(1, None)
        sink.open()
        sink.write([b"{}\n"])
        sink.close()
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(write_end)
    assert os.read(read_end, 100) == b"{}\n"
    os.close(read_end)


def test_processes_that_share_an_output_keep_lines_whole(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    long_lines = [[character * 70_000 + b"\n"] * 5 for character in (b"a", b"b")]
    sinks = [StreamSink(write_end, tmp_path / "lock") for _ in long_lines]
    threads = [
        threading.Thread(target=lambda s=sink, t=text: (s.open(), s.write(t), s.close()))
        for sink, text in zip(sinks, long_lines, strict=True)
    ]
    for thread in threads:
        thread.start()
    data = b""
    while len(data) < 2 * 5 * 70_001:
        data += os.read(read_end, 65_536)
    for thread in threads:
        thread.join()
    os.close(read_end)
    os.close(write_end)
    assert all(len(set(line)) == 1 for line in data.splitlines())


def test_the_key_of_an_installation_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = installation_key(path)
    assert len(key) == 32
    assert installation_key(path) == key
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_key_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(OSError, match="32 bytes"):
        installation_key(tmp_path / "key")


def _until(condition: object) -> None:
    deadline = time.monotonic() + 5
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_is_told_and_the_lines_are_kept_for_the_next_attempt(tmp_path: Path) -> None:
    full = FileSink(Path("/dev/full"))
    full.open()
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            full.write([b"{}\n"])
    full.close()
    descriptor = os.open("/dev/full", os.O_WRONLY)
    stream = StreamSink(descriptor, None)
    with pytest.raises(OSError, match="No space left"):
        stream.write([b"{}\n"])
    os.close(descriptor)
