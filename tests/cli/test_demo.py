"""The demo is a promise to whoever types it: every step ends as told, or it fails."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from gateway.sandbox import story
from gateway.sandbox.running import gateway_command
from gateway.sandbox.stage import Ended
from gateway.sandbox.story import Held, Push

COMMAND = [str(gateway_command()), "demo"]
PLAIN = {**os.environ, "NO_COLOR": "1"}


def test_the_story_ends_as_told() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=120, env=PLAIN, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 of 5 steps ended as told" in done.stdout
    assert "\x1b[" not in done.stdout
    assert len(re.findall(r"^curl -si http://127\.0\.0\.1:", done.stdout, re.MULTILINE)) == len(story.pushes())
    assert "The patient is not a member of this plan." in done.stdout
    assert "created, deleted" in done.stdout


def test_policies_that_are_wrong_stop_the_demo(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("policy: wrong\n")
    command = [*COMMAND, "--policies", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=PLAIN, check=False)
    assert done.returncode == 1
    assert "wrong.yaml:1:9: " in done.stdout.replace("\n", "")


def test_it_stays_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """Its curl lines work as they are printed, and nothing is left behind."""
    log = tmp_path / "out"
    with log.open("wb") as output:
        demo = subprocess.Popen([*COMMAND, "--stay"], stdout=output, stderr=subprocess.STDOUT, env=PLAIN)
        try:
            deadline = time.monotonic() + 60
            while "everything keeps running" not in (said := log.read_text("utf-8")):
                assert demo.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)
            lines = re.findall(r"^curl .*$", said, re.MULTILINE)
            answers = [
                subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=30, check=True).stdout
                for line in lines
            ]
            folder = Path(re.findall(r"cat (/\S+)/token", said)[0])
        finally:
            demo.send_signal(signal.SIGTERM)
            assert demo.wait(30) == 0
    # By hand nobody kills the gateway: the last one is found out at once.
    assert [answer.split()[1] for answer in answers] == ["201", "422", "403", "409", "409"]
    assert not folder.exists()


def ended(push: Push, **changes: object) -> Ended:
    reasons = tuple((f"Rule {rule}.", f"policy/{rule}") for rule in push.rules)
    told: dict[str, object] = {"status": push.status, "reasons": reasons, "held": push.held, "seen": "", "curl": ""}
    return Ended(push=push, **{**told, **changes})  # type: ignore[arg-type] # the fields of one step, changed one by one


def test_a_step_has_to_end_as_told_in_every_respect() -> None:
    for push in story.pushes():
        assert ended(push).as_told
        assert not ended(push, status=500).as_told
        assert not ended(push, held=None).as_told
        assert not ended(push, held=Held.STORED if push.held is not Held.STORED else Held.NOTHING).as_told
        assert ended(push, reasons=()).as_told is (push.rules == ())
