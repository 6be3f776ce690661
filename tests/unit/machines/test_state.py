from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import threading
from pathlib import Path

import pytest

from moby.errors import PlatformError
from moby.machines import state
from moby.machines.state import Facts, State


def facts(directory: Path, name: str = "web", started_s: int = 1) -> Facts:
    return Facts(
        name=name,
        state=str(directory),
        pid=1,
        architecture="amd64",
        cpus=1,
        memory_mib=256,
        publish=("127.0.0.1:8080->80/tcp",),
        started_s=started_s,
        detached=True,
    )


def test_claimed_directory_is_running_until_it_is_released(tmp_path: Path) -> None:
    held = State.claim(tmp_path / "web-state")
    assert state.is_running(tmp_path / "web-state")
    with pytest.raises(PlatformError, match="already runs"):
        State.claim(tmp_path / "web-state")
    held.release()
    held.release()
    assert not state.is_running(tmp_path / "web-state")
    State.claim(tmp_path / "web-state").release()


def test_lock_passed_on_keeps_the_machine_running(tmp_path: Path) -> None:
    held = State.claim(tmp_path)
    inherited = os.dup(held.lock)
    held.release()
    assert state.is_running(tmp_path)
    os.close(inherited)
    assert not state.is_running(tmp_path)


def test_nothing_runs_where_nothing_is(tmp_path: Path) -> None:
    assert not state.is_running(tmp_path / "absent")


def test_claiming_clears_the_last_run_but_not_its_address_and_disks(tmp_path: Path) -> None:
    for name in ("console.log", "machine.json", "disk.img", "uefi-vars.fd"):
        (tmp_path / name).write_text("x")
    held = State.claim(tmp_path)
    mac = held.mac()
    held.release()
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "disk.img", "uefi-vars.fd", "mac-addr"}
    again = State.claim(tmp_path)
    assert again.mac() == mac
    again.release()


def test_address_is_local_and_unicast_and_a_broken_one_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "mac-addr").write_text("not an address")
    held = State.claim(tmp_path)
    mac = held.mac()
    held.release()
    assert re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac)
    assert int(mac[:2], 16) & 3 == 2
    assert (tmp_path / "mac-addr").stat().st_mode & 0o777 == 0o640


def test_file_in_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match="cannot make the state directory"):
        State.claim(tmp_path / "file")


def test_sockets_work_below_long_paths(tmp_path: Path) -> None:
    held = State.claim(tmp_path / ("long" * 30) / ("er" * 60))
    listener = held.listen("qmp.sock")
    client = state.connect(held.directory / "qmp.sock")
    accepted, _ = listener.accept()
    for end in (client, accepted, listener):
        end.close()
    held.release()


def test_dead_socket_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "qmp.sock"))
    with pytest.raises(PlatformError, match="does not answer"):
        state.connect(tmp_path / "qmp.sock")


def test_running_machines_are_listed_oldest_first_and_ended_ones_forgotten_with_their_directory(tmp_path: Path) -> None:
    held = {name: State.claim(tmp_path / name) for name in ("new", "old", "gone")}
    for started_s, name in enumerate(("old", "gone", "new")):
        held[name].record(facts(tmp_path / name, name, started_s), tmp_path / "work")
    held.pop("gone").release()
    assert [machine.name for machine in state.running(tmp_path / "work")] == ["old", "new"]
    listed = [(machine.name, runs) for machine, runs in state.known(tmp_path / "work")]
    assert listed == [("old", True), ("gone", False), ("new", True)]
    for each in held.values():
        each.release()
    assert state.running(tmp_path / "work") == ()
    for name in ("old", "gone", "new"):
        shutil.rmtree(tmp_path / name)
    assert state.known(tmp_path / "work") == ()
    assert list((tmp_path / "work" / "machines").iterdir()) == []


def ended(directory: Path, name: str, work: Path, started_s: int = 1) -> None:
    held = State.claim(directory)
    held.record(facts(directory, name, started_s), work)
    held.release()


def test_a_machine_on_a_disk_that_is_not_mounted_is_not_forgotten(tmp_path: Path) -> None:
    work, disk = tmp_path / "work", tmp_path / "disk"
    ended(disk / "web-state", "web", work)
    disk.rename(tmp_path / "away")
    assert state.known(work) == ()
    (tmp_path / "away").rename(disk)
    assert [machine.name for machine, _ in state.known(work)] == ["web"]


def test_of_machines_that_ended_the_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_ENDED_KEPT", 2)
    work = tmp_path / "work"
    held = State.claim(tmp_path / "runs")
    held.record(facts(tmp_path / "runs", "runs", 0), work)
    for number, name in enumerate(("a", "b", "c", "d"), 1):
        before = set((work / "machines").iterdir())
        ended(tmp_path / name, name, work, number)
        (entry,) = set((work / "machines").iterdir()) - before
        os.utime(entry, (number, number))
    state.known(work)
    assert [machine.name for machine, _ in state.known(work)] == ["runs", "c", "d"]
    assert (tmp_path / "a" / "machine.json").exists(), "it is only not listed"
    held.release()


def test_list_that_others_change_meanwhile_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = State.claim(tmp_path / "web")
    held.record(facts(tmp_path / "web"), tmp_path / "work")
    listed = tmp_path / "work" / "machines"
    (listed / ".half.1").write_text("")  # being written
    (listed / "struck").symlink_to(listed / "absent")  # listed, and gone when it is read
    assert [machine.name for machine in state.running(tmp_path / "work")] == ["web"]
    assert (listed / ".half.1").exists()
    held.release()


def test_those_who_ask_do_not_see_each_other(tmp_path: Path) -> None:
    State.claim(tmp_path).release()
    with (tmp_path / "lock").open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not state.is_running(tmp_path)


def test_claim_outlasts_one_who_asks(tmp_path: Path) -> None:
    State.claim(tmp_path).release()
    asking = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    answered = threading.Timer(0.03, os.close, (asking,))
    answered.start()
    State.claim(tmp_path).release()
    answered.join()


def test_machine_without_readable_facts_is_not_shown_but_kept(tmp_path: Path) -> None:
    held = State.claim(tmp_path / "web")
    held.record(facts(tmp_path / "web"), tmp_path / "work")
    (tmp_path / "web" / "machine.json").write_text("{}")
    assert state.running(tmp_path / "work") == ()
    assert len(list((tmp_path / "work" / "machines").iterdir())) == 1
    held.release()


def test_machines_are_found_by_name_or_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [State.claim(tmp_path / name) for name in ("a", "web-state", "c")]
    for each, name in zip(held, ("web", "web", "db"), strict=True):
        each.record(facts(each.directory, name), tmp_path / "work")
    assert state.find("db", tmp_path / "work").state == str(tmp_path / "c")
    assert state.find(str(tmp_path / "a"), tmp_path / "work").state == str(tmp_path / "a")
    with pytest.raises(PlatformError, match="several machines are called web"):
        state.find("web", tmp_path / "work")
    monkeypatch.chdir(tmp_path)
    assert state.find("web", tmp_path / "work").state == str(tmp_path / "web-state")
    with pytest.raises(PlatformError, match=r"no machine x is running \(running: "):
        state.find("x", tmp_path / "work")
    for each in held:
        each.release()
    with pytest.raises(PlatformError, match=r"no machine x is running \(no machine runs now; moby run -d"):
        state.find("x", tmp_path / "work")


def test_a_machine_that_ended_is_found_where_that_is_asked_for(tmp_path: Path) -> None:
    work = tmp_path / "work"
    for started_s, name in enumerate(("old", "new")):
        held = State.claim(tmp_path / name)
        held.record(facts(held.directory, started_s=started_s), work)
        held.release()
    with pytest.raises(PlatformError, match=r"web is not running any more \(moby logs web "):
        state.find("web", work)
    assert state.find("web", work, ended=True).state == str(tmp_path / "new")
    assert state.find(str(tmp_path / "old"), work, ended=True).state == str(tmp_path / "old")
    with pytest.raises(PlatformError, match="no machine db is running"):
        state.find("db", work, ended=True)
    again = State.claim(tmp_path / "old")
    again.record(facts(again.directory), work)
    assert state.find("web", work, ended=True).state == str(tmp_path / "old"), "one that runs comes first"
    again.release()


def test_the_exit_status_is_that_of_the_last_run_or_not_known(tmp_path: Path) -> None:
    ended = facts(tmp_path)
    assert state.exit_status(ended) is None
    state.note_end(tmp_path, ended.pid, 3)
    assert state.exit_status(ended) == 3
    state.note_end(tmp_path, ended.pid + 1, 0)
    assert state.exit_status(ended) is None
    (tmp_path / "exit-status").write_text("x")
    assert state.exit_status(ended) is None
    state.note_end(tmp_path / "absent", 1, 0)
    state.note_end(tmp_path, ended.pid, 3)
    State.claim(tmp_path).release()
    assert state.exit_status(ended) is None


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_socket_that_cannot_be_bound_is_closed_and_told(tmp_path: Path) -> None:
    held = State.claim(tmp_path / "web-state")
    (held.directory / "qmp.sock").mkdir()
    before = descriptors()
    with pytest.raises(PlatformError, match=r"qmp\.sock: cannot be written"):
        held.listen("qmp.sock")
    assert descriptors() == before
    held.release()


def test_a_state_that_cannot_be_recorded_is_told(tmp_path: Path) -> None:
    held = State.claim(tmp_path / "web-state")
    (tmp_path / "work").mkdir()
    (tmp_path / "work/machines").write_text("in the way")
    with pytest.raises(PlatformError, match="cannot be written"):
        held.record(facts(held.directory), tmp_path / "work")
    (held.directory / "machine.json").unlink()
    (held.directory / "machine.json").mkdir()
    with pytest.raises(PlatformError, match=r"machine\.json: cannot be written"):
        held.record(facts(held.directory), tmp_path / "elsewhere")
    held.release()


def test_a_last_run_that_cannot_be_cleared_is_told_and_the_lock_is_free(tmp_path: Path) -> None:
    (tmp_path / "console.log").mkdir()
    before = descriptors()
    with pytest.raises(PlatformError, match=r"console\.log: cannot be written"):
        State.claim(tmp_path)
    assert descriptors() == before
    assert not state.is_running(tmp_path)
