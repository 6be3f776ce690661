"""svc with real processes, a stand-in for crun, and no mounts."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import time

from tests.unit.guest.machine import SLEEPER, Machine


def test_onboot_runs_in_order_and_then_services(machine: Machine) -> None:
    machine.add("onboot", "001-b", "echo b >> order")
    machine.add("onboot", "000-a", "sleep 0.3; echo a >> order")
    machine.add("services", "c", "echo c >> order\n" + SLEEPER)
    machine.start()
    machine.wait_state("c", "running")
    machine.wait(lambda: machine.text("order").split() == ["a", "b", "c"])
    assert machine.status("000-a")["exit"] == 0
    assert re.search(r"^\[ *\d+\.\d\d\] onboot 000-a done \(\d\.\d\d s\)$", machine.console, re.MULTILINE)


def test_failed_onboot_shows_its_output_and_the_next_one_runs(machine: Machine) -> None:
    machine.add("onboot", "000-bad", "echo from stdout; echo from stderr >&2; exit 3")
    machine.add("onboot", "001-next", "true")
    machine.start()
    machine.wait_state("001-next", "done")
    assert machine.status("000-bad")["exit"] == 3
    assert "  000-bad: from stdout\n" in machine.console
    assert "  000-bad: from stderr\n" in machine.console
    assert "onboot 000-bad failed: exit status 3" in machine.console
    assert machine.text("run/log/onboot/onboot.000-bad.log") == "from stderr\n"
    assert machine.text("run/log/onboot/onboot.000-bad.out.log") == "from stdout\n"


def test_killed_service_is_back_at_once(machine: Machine) -> None:
    machine.add("services", "web")
    machine.start()
    first = machine.wait_state("web", "running")
    killed = time.monotonic()
    os.kill(first["pid"], signal.SIGKILL)
    machine.wait(lambda: machine.status("web").get("pid") not in (None, first["pid"]))
    assert time.monotonic() - killed < 2
    assert machine.status("web")["restarts"] == 1
    assert machine.status("web")["signal"] == signal.SIGKILL
    assert "service web ended: killed by signal 9" in machine.console
    assert "delete --force web" in machine.text("calls")


def test_crashing_service_is_started_less_and_less_often(machine: Machine) -> None:
    machine.add("services", "bad", "echo broken >&2; exit 1")
    machine.start()
    machine.wait(lambda: "starting again in 0.4 s" in machine.console)
    delays = re.findall(r"starting again(?: in (\S+) s)?$", machine.console, re.MULTILINE)
    assert delays[:4] == ["", "0.1", "0.2", "0.4"]
    assert machine.console.count("  bad: broken") == 3  # then only one line each


def test_container_that_ends_before_its_starter_has_its_exit_status(machine: Machine) -> None:
    (machine.add("onboot", "000-short", "sleep 0.1; exit 4") / "reap").touch()
    machine.start()
    assert machine.wait_state("000-short", "failed")["exit"] == 4


def test_restart_policies(machine: Machine) -> None:
    machine.add("services", "never", "exit 1", restart="never")
    machine.add("services", "good", "exit 0", restart="on-failure")
    machine.add("services", "bad", "exit 1", restart="on-failure")
    machine.start()
    assert machine.wait_state("never", "failed")["restarts"] == 0
    assert machine.wait_state("good", "done")["restarts"] == 0
    machine.wait(lambda: machine.status("bad").get("restarts", 0) >= 2)


def test_service_starts_after_the_one_it_names(machine: Machine) -> None:
    machine.add("services", "a", after="z")
    machine.add("services", "z")
    machine.start()
    machine.wait_state("a", "running")
    assert [line.split()[-1] for line in machine.text("calls").splitlines()] == ["z", "a"]


def test_refusal_of_the_runtime_is_shown(machine: Machine) -> None:
    (machine.add("services", "bad", restart="never") / "refuse").touch()
    machine.start()
    machine.wait_state("bad", "failed")
    assert "  bad: refused by the runtime\n" in machine.console
    assert "service bad ended: did not start: exit status 1" in machine.console


def test_unreadable_runtime_json_stops_only_its_container(machine: Machine) -> None:
    (machine.add("services", "bad", restart="never") / "runtime.json").write_text('{"mounts": [}')
    machine.add("services", "good")
    machine.start()
    machine.wait_state("bad", "failed")
    machine.wait_state("good", "running")
    assert "runtime.json, byte 12: expected a value" in machine.console


def test_interfaces_are_made_between_create_and_start(machine: Machine) -> None:
    bundle = machine.add("services", "net")
    (bundle / "runtime.json").write_text('{"interfaces": [{"name": "eth1"}]}')
    machine.script("usr/bin/moby-net", '#!/bin/sh\necho "moby-net $*" >> calls\n')
    machine.start()
    pid = machine.wait_state("net", "running")["pid"]
    verbs = [line.split()[0] for line in machine.text("calls").splitlines()]
    assert verbs == ["create", "moby-net", "start"]
    assert f"moby-net {pid} ./containers/services/net/runtime.json\n" in machine.text("calls")


def test_container_survives_svc_and_is_watched_by_the_next(machine: Machine) -> None:
    machine.add("onboot", "000-once", "echo once >> order")
    machine.add("services", "web", "echo start >> order\n" + SLEEPER)
    machine.start()
    pid = machine.wait_state("web", "running")["pid"]
    machine.wait(lambda: machine.text("order").split() == ["once", "start"])
    machine.kill()
    machine.start()
    machine.wait(lambda: machine.svc("start", "web") == (0, ""))
    assert machine.status("web")["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    machine.wait(lambda: machine.status("web").get("restarts") == 1 and machine.status("web")["state"] == "running")
    machine.wait(lambda: machine.text("order").split() == ["once", "start", "start"])


def test_container_that_ended_without_svc_is_started_again(machine: Machine) -> None:
    machine.add("services", "web")
    machine.start()
    pid = machine.wait_state("web", "running")["pid"]
    machine.kill()
    os.kill(pid, signal.SIGKILL)
    machine.start()
    machine.wait(lambda: machine.status("web").get("restarts") == 1 and machine.status("web")["state"] == "running")
    assert machine.status("web")["pid"] != pid


def test_commands_stop_start_and_restart(machine: Machine) -> None:
    machine.add("services", "web")
    machine.start()
    first = machine.wait_state("web", "running")["pid"]
    assert machine.svc("restart", "web") == (0, "")
    second = machine.status("web")
    assert (second["state"], second["restarts"]) == ("running", 0)
    assert second["pid"] != first
    assert machine.svc("stop", "web") == (0, "")
    assert machine.status("web")["state"] == "stopped"
    assert machine.svc("start", "web") == (0, "")
    assert machine.status("web")["state"] == "running"
    assert machine.svc("stop", "none") == (1, "svc: error: there is no container none\n")


def test_start_of_a_service_that_fails_is_an_error(machine: Machine) -> None:
    bundle = machine.add("services", "bad", restart="never")
    (bundle / "refuse").touch()
    machine.start()
    machine.wait_state("bad", "failed")
    assert machine.svc("start", "bad") == (1, "svc: error: bad is failed\n")


def test_status_and_logs_as_commands(machine: Machine) -> None:
    machine.add("services", "web", "echo hello\necho oops >&2\n" + SLEEPER)
    machine.start()
    pid = machine.wait_state("web", "running")["pid"]
    machine.wait(lambda: "oops" in machine.text("var/log/web.log"))
    status, table = machine.svc("status")
    assert status == 0
    assert re.search(rf"^services +web +running +{pid} +\d+ s +0 +-$", table, re.MULTILINE)
    assert machine.svc("status", "--json")[1] == machine.text("run/moby/status.json")
    assert machine.svc("logs", "web") == (0, "hello\noops\n")
    assert machine.svc("logs", "../web")[0] == 1
    assert machine.svc("nonsense")[0] == 2


def test_stopping_runs_onshutdown_after_the_services(machine: Machine) -> None:
    machine.add("services", "web", "trap 'echo web >> order; exit 0' TERM\nwhile :; do sleep 0.05; done\n")
    machine.add("onshutdown", "000-bye", "echo bye >> order")
    machine.start()
    machine.wait_state("web", "running")
    time.sleep(0.2)
    assert machine.stop() == 0
    assert machine.text("order").split() == ["web", "bye"]
    assert "onshutdown 000-bye done" in machine.console


def test_stopping_ends_a_long_onboot(machine: Machine) -> None:
    machine.add("onboot", "000-long")
    machine.add("services", "web")
    machine.start()
    machine.wait_state("000-long", "running")
    assert machine.stop() == 0
    assert machine.status("000-long")["state"] == "stopped"
    assert machine.status("web")["pid"] is None


def test_long_log_is_rotated_while_the_service_writes(machine: Machine) -> None:
    machine.add("services", "loud", "head -c 1500000 /dev/zero | tr '\\0' x\n" + SLEEPER)
    machine.start()
    machine.wait(lambda: (machine.root / "var/log/loud.out.log.1").exists())
    machine.wait(lambda: (machine.root / "var/log/loud.out.log").stat().st_size == 0)
    assert (machine.root / "var/log/loud.out.log.1").stat().st_size == 1 << 20


def _ask(machine: Machine, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        here = os.open(".", os.O_RDONLY)
        os.chdir(machine.root)  # the path of a socket is short
        try:
            client.connect("run/moby/svc.sock")
        finally:
            os.fchdir(here)
            os.close(here)
        client.sendall(line)
        return client.recv(1000)


def test_control_socket_is_for_root_and_refuses_nonsense(machine: Machine) -> None:
    machine.add("services", "web")
    machine.start()
    machine.wait_state("web", "running")
    assert stat.S_IMODE((machine.root / "run/moby/svc.sock").stat().st_mode) == 0o600
    assert _ask(machine, b"explode\n") == b"error: not a request\n"
    assert _ask(machine, b"x" * 400) == b"error: line too long\n"
    assert _ask(machine, b"stop web\n") == b"ok\n"
