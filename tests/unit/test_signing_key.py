"""The keys that sign are apart from what the loader's process can change, and sign in sequence."""

from __future__ import annotations

import os
import shutil
import stat

import pytest
from fixtures.evidence import Run, heads_of
from fixtures.other_user import NOBODY, as_user, reachable_folder

from auditsvc.config import load_settings
from auditsvc.doctor.finding import Level
from auditsvc.doctor.signing_key import signing_key
from auditsvc.errors import EvidenceError
from auditsvc.evidence.finding import Report
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.key_file import KeyFile
from auditsvc.evidence.key_place import not_closed, open_key_file
from auditsvc.evidence.keys import signed_last
from auditsvc.evidence.verify import check_signed_last, verify_spool

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the folder is root's")


@pytest.fixture
def place(tmp_path):
    """Give a path for the keys, apart from the spool."""
    return tmp_path / "apart/key"


def begin(spool, place):
    """Give a run whose keys are apart."""
    file, note = open_key_file(place)
    assert not note
    return Run(spool, key_file=file)


def signed(spool, place, count=5):
    """Sign some heads, each for a line; gives them."""
    run = begin(spool, place)
    for number in range(count):
        run.put(number)
        run.step()
    run.end()
    return run.heads


def found(spool, place):
    """Give what a verification finds, with the keys' file."""
    report = Report()
    try:
        report = verify_spool(spool)
    except EvidenceError as error:
        return [str(error)]
    check_signed_last(spool, signed_last(place), report)
    return [each.what for each in report.findings]


@needs_root
def test_the_keys_file_is_roots_and_of_no_use_beside_the_heads(tmp_path, place):
    """The folder is for root alone; nothing of the keys is in the spool's folder."""
    spool = tmp_path / "spool"
    signed(spool, place)
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert not (spool / "evidence/key").exists()
    assert not found(spool, place)
    signed(spool, place)
    assert not found(spool, place)
    last = heads_of(spool)[-1]
    assert signed_last(place) == (last.n, last.digest())


def cut(spool):
    """Take away the last two heads and their lines, as if they had never been there."""
    path = Folder(spool).heads_path(1)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    end = Folder(spool).last().end
    for each in spool.glob("audit-*"):
        os.truncate(each, end)
    tags = Folder(spool).tags_path(1)
    os.truncate(tags, tags.stat().st_size - 8)


def replace_all(spool):
    """Put a log of one's own there, signed with keys of one's own, as many heads as before."""
    made = spool.with_name("invented")
    Run(made).end()
    shutil.copy(spool / "identity", made)
    run = Run(made)
    for number in range(10, 10 + len(heads_of(spool))):
        run.put(number)
        run.step()
    run.crash()
    shutil.rmtree(spool)
    made.rename(spool)
    (spool / "evidence/key").unlink()


def remove_all(spool):
    """Take away the heads; verification says so without the keys."""
    shutil.rmtree(spool)
    spool.mkdir(mode=0o700)


@needs_root
@pytest.mark.parametrize("tamper", [cut, replace_all, remove_all], ids=lambda each: each.__name__)
def test_what_the_services_user_does_to_heads_shows_without_one_from_elsewhere(
    tmp_path, place, tamper
):
    """He owns heads and lines, and not the keys: what was signed last stands with these.

    At the next start it is told, at once, and what is signed from then on follows what is gone.
    """
    spool = tmp_path / "spool"
    heads = signed(spool, place)
    tamper(spool)
    assert found(spool, place)
    run = begin(spool, place)
    assert run.told
    run.put(99)
    run.end()
    (last,) = heads_of(spool)[-1:]
    assert last.n == len(heads) + 1
    assert last.broken
    assert found(spool, place)


@needs_root
def test_a_chain_that_announces_the_true_key_is_found(tmp_path, place):
    """Who knows which key comes next, as everybody does, forges heads that lead to it."""
    spool = tmp_path / "spool"
    signed(spool, place)
    true = heads_of(spool)[-1]

    replace_all(spool)
    path = Folder(spool).heads_path(1)
    text = path.read_text().splitlines()
    last = heads_of(spool)[-1]
    assert (last.n, last.spool) == (true.n, true.spool)
    text[-1] = text[-1].replace(last.next, true.next)  # his own key could sign that
    path.write_text("\n".join(text) + "\n")
    run = begin(spool, place)
    assert any("another one than was signed" in each for each in run.told)
    run.crash()


@needs_root
def test_a_run_that_ended_between_head_and_key_is_no_tampering(tmp_path, place):
    """The keys' file is from before the last head."""
    spool = tmp_path / "spool"
    run = begin(spool, place)
    run.put(1)
    run.step()
    before = place.read_bytes()
    run.put(2)
    run.step()
    run.crash()
    place.write_bytes(before)
    assert not found(spool, place)
    run = begin(spool, place)
    assert not run.told
    run.put(3)
    run.end()
    assert not found(spool, place)


@needs_root
def test_a_key_beside_the_heads_is_taken_over_and_one_that_comes_later_is_not_used(tmp_path, place):
    """An older program's keys sign the next head; what is put there afterwards is thrown away."""
    spool = tmp_path / "spool"
    run = Run(spool)
    run.put(1)
    run.end()
    beside = spool / "evidence/key"
    data = beside.read_bytes()
    beside.write_bytes(data[data.index(b"-----BEGIN") :].rstrip(b"\0"))  # as an older program's
    run = begin(spool, place)
    assert run.notary.moved == str(beside)
    assert not beside.exists()
    assert not run.told
    run.put(2)
    run.end()
    assert not found(spool, place)
    beside.write_bytes(data)
    run = begin(spool, place)
    assert not beside.exists()
    assert not run.told
    run.put(3)
    run.end()
    assert not found(spool, place)


def test_a_write_that_is_torn_leaves_keys(tmp_path, monkeypatch):
    """Whatever is on the disk, one slot is whole; at the end the old keys are nowhere."""
    path = tmp_path / "key"
    file = KeyFile(path)
    file.replace(b"first")
    file.replace(b"second")
    states = [path.read_bytes()]
    write = os.pwrite

    def halves(descriptor, data, offset):
        half = len(data) // 2
        for part, at in ((data[:half], offset), (data[half:], offset + half)):
            write(descriptor, part, at)
            states.append(path.read_bytes())
        return len(data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", halves)
        file.replace(b"third")
    assert b"second" not in states[-1]
    contents = []
    for state in states:
        path.write_bytes(state)
        contents.append(file.content())
    assert set(contents) == {b"second", b"third"}
    assert contents[-1] == b"third"


def test_a_damaged_file_is_said(tmp_path):
    """And not taken for a new one."""
    file = KeyFile(tmp_path / "key")
    assert file.content() == b""
    file.replace(b"keys")
    data = (tmp_path / "key").read_bytes()
    (tmp_path / "key").write_bytes(data.replace(b"keys", b"kex!"))
    with pytest.raises(EvidenceError, match="damaged"):
        file.content()


@needs_root
def test_who_may_not_open_the_keys_signs_nothing_with_others():
    """A folder of root's is there: other keys would look like forgery."""
    with reachable_folder() as folder:
        (folder / "spool").mkdir()
        os.chown(folder / "spool", NOBODY, NOBODY)
        open_key_file(folder / "apart/key")

        def run():
            file, note = open_key_file(folder / "apart/key")
            assert not note
            made = Run(folder / "spool", key_file=file)
            made.writer.close()
            return made.notary.problem

        assert "start the service as root" in as_user(NOBODY, run)
        # Where there is none, the keys are beside the heads, and that is said.
        file, note = as_user(NOBODY, lambda: open_key_file(folder / "none/key"))
        assert file is None
        assert "the loader's process can read the key that signs" in note


@needs_root
def test_doctor_tells_a_key_that_the_loaders_user_can_read(tmp_path):
    """Beside the heads, in a folder that is open, and one that somebody has put there."""
    settings = load_settings(state_directory=tmp_path / "state", runtime_directory=tmp_path)
    spool, path = settings.spool_directory, settings.key_path
    assert path.parent == tmp_path / "state-key"
    assert signing_key(settings).level is Level.OK
    run = Run(spool)
    run.put(1)
    run.end()
    assert signing_key(settings).level is Level.WARNING
    signed(spool, path)
    assert signing_key(settings).level is Level.OK
    (spool / "evidence/key").touch()
    assert signing_key(settings).level is Level.NOTE
    (spool / "evidence/key").unlink()
    path.parent.chmod(0o750)
    shown = signing_key(settings)
    assert (shown.level, "chmod 700" in shown.mend) == (Level.ERROR, True)
    os.chown(path.parent, NOBODY, 0)
    assert f"uid {NOBODY}" in not_closed(path.parent)


def test_each_spool_has_keys_of_its_own(tmp_path):
    """Several spools may have one state directory."""
    one = load_settings(state_directory=tmp_path)
    other = load_settings(state_directory=tmp_path, spool={"directory": tmp_path / "other"})
    assert one.key_path.parent == other.key_path.parent
    assert one.key_path != other.key_path
    given = load_settings(evidence={"key_directory": tmp_path})
    assert given.key_path.parent == tmp_path
