"""Which files are policies, and what cannot be read."""

from pathlib import Path

import pytest

from gateway.policy.cases import FixtureUnusable
from gateway.policy.engines import standard_engines
from gateway.policy.loader import MAX_FILE_BYTES, compile_paths, load, load_sources, read_files, read_fixture
from gateway.policy.problems import PolicyErrors
from tests.policy.policies import HEAD, rule, with_rules

TEXT = with_rules(HEAD, rule("resource.status == 'final'"))


def write(folder: Path, name: str, text: str = TEXT) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def problems(*paths: Path) -> list[str]:
    with pytest.raises(PolicyErrors) as caught:
        load(paths, release="R4", engines=standard_engines())
    return [str(problem) for problem in caught.value.problems]


def test_a_folder_is_read_through_and_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    one = write(tmp_path, "one.yaml")
    write(tmp_path, "deep/er/two.yml", TEXT.replace("policy: a", "policy: b"))
    loaded = load([tmp_path, one, tmp_path / "deep"], release="R4", engines=standard_engines())
    assert [source.name for source in loaded.sources] == ["deep/er/two.yml", "one.yaml"]
    assert [policy.source for policy in loaded.policies] == [str(one), str(tmp_path / "deep/er/two.yml")]


def test_the_revision_does_not_depend_on_where_the_folder_stands(tmp_path: Path) -> None:
    write(tmp_path / "here", "one.yaml")
    write(tmp_path / "there", "one.yaml")
    engines = standard_engines()
    here, there = (load([tmp_path / name], release="R4", engines=engines) for name in ("here", "there"))
    assert here.revision == there.revision
    assert load_sources(here.sources, release="R4", engines=engines).revision == here.revision


def test_hidden_files_other_files_and_fixtures_are_no_policies(tmp_path: Path) -> None:
    write(tmp_path, "one.yaml")
    write(tmp_path, ".hidden.yaml", "{")
    write(tmp_path, ".git/two.yaml", "{")
    write(tmp_path, "notes.txt", "{")
    write(tmp_path, "fixtures/table.yaml", "rows: []")
    (tmp_path / "folder.yaml").mkdir()
    files, found = read_files([tmp_path])
    assert [file.source.name for file in files] == ["one.yaml"]
    assert found == ()


@pytest.mark.parametrize("key", ["policy: b", '"policy": b', "'policy' : b"])
def test_a_policy_that_strayed_among_the_fixtures_is_not_left_out_in_silence(tmp_path: Path, key: str) -> None:
    write(tmp_path, "one.yaml")
    write(tmp_path, "fixtures/two.yaml", TEXT.replace("policy: a", key))
    assert len(load([tmp_path], release="R4", engines=standard_engines()).policies) == 2


def test_any_other_yaml_file_without_a_policy_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "one.yaml")
    other = write(tmp_path, "other.yaml", "rows: []\n")
    assert problems(tmp_path) == [f"{other}:1:1: the key policy is missing", f"{other}:1:1: unknown key rows"]


def test_what_cannot_be_read_is_listed_with_the_rest(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong = write(tmp_path, "wrong.yaml", TEXT + "x: 1\n")
    large = write(tmp_path, "large.yaml", "#" * (MAX_FILE_BYTES + 1))
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"policy: a\ntitle: \xe9\n")
    missing = tmp_path / "missing.yaml"
    assert problems(empty, wrong, large, latin, missing) == [
        f"{empty}:1:1: there is no policy file in this folder",
        f"{large}:1:1: is larger than {MAX_FILE_BYTES} bytes",
        f"{latin}:2:1: is not UTF-8",
        f"{missing}:1:1: there is no such file or folder",
        f"{wrong}:8:1: unknown key x",
    ]


def test_no_policy_at_all_is_an_error(tmp_path: Path) -> None:
    assert problems() == ["policies:1:1: there is no policy: nothing is permitted"]
    assert problems(tmp_path) == [f"{tmp_path}:1:1: there is no policy file in this folder"]


def test_a_file_that_goes_away_or_may_not_be_read_is_a_problem(tmp_path: Path) -> None:
    gone = tmp_path / "gone.yaml"
    gone.symlink_to(tmp_path / "nowhere")
    assert problems(gone) == [f"{gone}:1:1: there is no such file or folder"]
    # A device that cannot be opened stands for a file without permission: tests may run as root.
    unreadable = Path("/proc/self/mem")
    assert problems(unreadable)[0].startswith(f"{unreadable}:1:1: cannot be read: ")


def test_good_files_do_not_hide_a_path_that_is_missing(tmp_path: Path) -> None:
    good = write(tmp_path, "one.yaml")
    compilation = compile_paths([good, tmp_path / "gone"], release="R4", engines=standard_engines())
    assert compilation.policy_set is None
    assert len(compilation.documents) == 1


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert load([path], release="R4", engines=standard_engines()).sources[0].text == TEXT


def test_fixtures_are_read_beside_the_policy(tmp_path: Path) -> None:
    policy = write(tmp_path, "set/one.yaml")
    write(tmp_path, "set/fixtures/a.json", "{}")
    assert read_fixture(str(policy), "fixtures/a.json") == b"{}"


@pytest.mark.parametrize("name", ["../secret.json", "fixtures/../../secret.json", "/etc/hostname", "link.json"])
def test_fixtures_do_not_leave_the_folder_of_the_policy(tmp_path: Path, name: str) -> None:
    policy = write(tmp_path, "set/one.yaml")
    secret = write(tmp_path, "secret.json", "{}")
    (tmp_path / "set" / "link.json").symlink_to(secret)
    with pytest.raises(FixtureUnusable, match="outside the folder of the policy file"):
        read_fixture(str(policy), name)


def test_a_fixture_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FixtureUnusable, match=r"a\.json: No such file"):
        read_fixture(str(write(tmp_path, "one.yaml")), "a.json")
