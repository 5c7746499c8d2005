"""The commands around the server, as somebody types them."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from livekit import api
from tests.test_livekit import FORWARDER, KEY, SECRET, settings, token

from rtpcore import cli
from rtpcore.asking import as_table
from rtpcore.config import Config, Listen
from rtpcore.doctor.call import call
from rtpcore.livekit_config import load
from rtpcore.ports import Port, needed
from rtpcore.serve import application
from rtpcore.wire.token import Keyring

KEYS = ["--keys", f"{KEY}: {SECRET}"]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, own_logging: None) -> None:
    for name in ("LIVEKIT_KEYS", "LIVEKIT_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    told = capsys.readouterr()
    return status, told.out, told.err


class TestToken:
    @pytest.mark.parametrize("command", ["token", "create-join-token"])
    def test_a_room_and_a_name_are_enough(self, capsys: pytest.CaptureFixture[str], command: str) -> None:
        status, out, _ = run(capsys, command, *KEYS, "--room", "stage", "--identity", "ada")
        assert status == 0
        claims = api.TokenVerifier(KEY, SECRET).verify(out.strip())
        assert (claims.identity, claims.video.room, claims.video.room_join) == ("ada", "stage", True)
        told = Keyring({KEY: SECRET}).verify(out.strip(), time.time())
        assert told.video is not None
        assert told.video.may_publish()
        assert told.video.may_subscribe
        assert told.expires_at == pytest.approx(time.time() + 21600, abs=60)

    def test_everything_that_can_be_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = "--room r --identity a --name A --metadata m --attribute k=v=w --ttl 15m --publish microphone --hidden"
        more = "--no-subscribe --no-data --update-metadata --recorder --agent --admin --join --create --list"
        _, out, _ = run(capsys, "token", *KEYS, *words.split(), *more.split())
        told = Keyring({KEY: SECRET}).verify(out.strip(), time.time())
        grant = told.video
        assert grant is not None
        assert (told.name, told.metadata, told.attributes) == ("A", "m", {"k": "v=w"})
        assert told.expires_at == pytest.approx(time.time() + 900, abs=60)
        assert grant.can_publish_sources == ("microphone",)
        assert not grant.may_subscribe
        assert not grant.may_publish_data
        assert grant.may_update_own_metadata
        assert all((grant.hidden, grant.recorder, grant.agent, grant.room_admin, grant.room_join))
        assert all((grant.room_create, grant.room_list))
        _, out, _ = run(capsys, "token", *KEYS, "--room", "r", "--admin")
        claims = api.TokenVerifier(KEY, SECRET).verify(out.strip())
        assert claims.video.room_admin
        assert not claims.video.room_join

    @pytest.mark.parametrize(
        ("words", "hint"),
        [
            ("--room r", "--identity"),
            ("--identity a", "--room"),
            ("--join --identity a", "--room"),
            ("", "--room"),
        ],
    )
    def test_what_is_missing_is_named(self, capsys: pytest.CaptureFixture[str], words: str, hint: str) -> None:
        status, out, err = run(capsys, "token", *KEYS, *words.split())
        assert (status, out) == (1, "")
        assert hint in err

    def test_keys_are_those_of_the_server(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        file = tmp_path / "livekit.yaml"
        file.write_text(f"keys: {{other: {SECRET}}}\n")
        _, out, _ = run(capsys, "token", "--config", str(file), "--room", "r", "--identity", "a")
        assert api.TokenVerifier("other", SECRET).verify(out.strip()).identity == "a"
        _, out, _ = run(capsys, "token", "--dev", "--room", "r", "--identity", "a")
        assert Keyring({"devkey": "secret"}, allow_short=True).verify(out.strip(), time.time()).identity == "a"
        status, _, err = run(capsys, "token", "--room", "r", "--identity", "a")
        assert status == 1
        assert "LIVEKIT_KEYS" in err

    @pytest.mark.parametrize("text", ["", "x", "-5", "0", "5y"])
    def test_a_time_that_is_none(self, text: str) -> None:
        with pytest.raises(SystemExit, match="2"):
            cli.main(["token", *KEYS, "--room", "r", "--identity", "a", f"--ttl={text}"])


def test_keys_that_are_made_can_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    made = set()
    for _ in range(2):
        status, out, _ = run(capsys, "generate-keys")
        assert status == 0
        key, secret = (line.partition(":  ")[2] for line in out.splitlines())
        assert key.startswith("API")
        Keyring({key: secret})
        made |= {key, secret}
    assert len(made) == 4


class TestPorts:
    def test_everything_that_a_configuration_binds(self) -> None:
        turn = "{enabled: true, domain: t.example, tls_port: 5349, udp_port: 3478, cert_file: c, key_file: k}"
        text = f"keys: {{k: {SECRET}}}\nprometheus: {{port: 9000}}\nturn: {turn}"
        found = needed(load(text, environ={}), Config(Listen(("::",), 7882, 7881)))
        assert [(one.protocol, one.address, one.numbers) for one in found] == [
            ("tcp", "0.0.0.0", "7880"),
            ("tcp", "::", "7880"),
            ("udp", "::", "7882"),
            ("tcp", "::", "7881"),
            *(
                (protocol, address, numbers)
                for address in ("0.0.0.0", "::")
                for protocol, numbers in (("udp", "3478"), ("tcp", "5349"), ("udp", "30000-40000"))
            ),
            ("tcp", "0.0.0.0", "9000"),
            ("tcp", "::", "9000"),
        ]
        assert [one.purpose for one in found if not one.is_public] == ["metrics", "metrics"]

    def test_what_is_in_use_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert Port("tcp", "127.0.0.1", port, "x").trouble() == "in use"
            arguments = ["ports", *KEYS, "--host", "127.0.0.1", "--port", str(port)]
            status, out, _ = run(capsys, *arguments)
            assert status == 0
            assert all(len(line) <= 80 for line in out.splitlines())
            assert "in use" in out
            _, out, _ = run(capsys, *arguments, "--json")
            http = json.loads(out)[0]
        assert (http["port"], http["is_free"], http["trouble"]) == (port, False, "in use")

    def test_an_address_of_another_machine(self) -> None:
        assert "no such address" in Port("udp", "192.0.2.1", 7882, "x").trouble()


class TestDoctor:
    ANY = ("--port", "0", "--udp-port", "0", "--tcp-port", "0")

    def test_a_configuration_that_works(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "doctor", "--dev", *self.ANY)
        assert status == 0, out
        assert all(len(line) <= 80 for line in out.splitlines())
        legs = {line[:15].strip(): line[15:22].strip() for line in out.splitlines() if not line.startswith(" ")}
        for leg in ("HTTP", "token", "websocket", "ICE over UDP", "ICE over TCP", "DTLS", "media"):
            assert legs[leg] == "ok", out
        assert legs["TURN"] == "unknown", "not enabled"

    def test_json_for_machines(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "doctor", "--dev", "--json", "--port", "0", "--udp-port", "0", "--tcp-port", "-1")
        told: dict[str, Any] = json.loads(out)
        assert (status, told["ok"]) == (0, True)
        verdicts = {finding["leg"]: finding["verdict"] for finding in told["findings"]}
        assert verdicts["ICE over TCP"] == "unknown"
        assert verdicts["media"] == "ok"

    def test_a_configuration_that_is_wrong(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "doctor", "--dev", "--config-body", "prot: 1")
        assert status == 1
        assert "configuration  failed" in out
        assert "port" in out

    def test_a_port_that_is_taken(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            status, out, _ = run(capsys, "doctor", "--dev", "--port", port, "--udp-port", "0", "--tcp-port", "0")
        assert status == 1
        assert "ports          failed" in out
        assert "--url" in out

    async def test_a_server_that_runs(self, capsys: pytest.CaptureFixture[str]) -> None:
        async with TestServer(application(FORWARDER, settings())) as server:
            url = str(server.make_url("/"))
            told = await asyncio.to_thread(run, capsys, "doctor", *KEYS, "--url", url.replace("http", "ws"))
            assert told[0] == 0, told[1]
            others = ["--keys", f"{KEY}: another secret that is long enough"]
            status, out, _ = await asyncio.to_thread(run, capsys, "doctor", *others, "--url", url)
        assert status == 1
        assert "token          failed  refused: the token's signature is wrong" in out
        assert "media          unknown not reached" in out


def test_a_command_that_is_none() -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["dance"])
    with pytest.raises(SystemExit, match="0"):
        cli.main(["serve", "--help"])


class TestWhy:
    async def test_a_server_that_runs(self, capsys: pytest.CaptureFixture[str]) -> None:
        async with TestServer(application(FORWARDER, settings())) as server:
            url = str(server.make_url("/"))

            def ask(*arguments: str) -> Any:
                return asyncio.to_thread(run, capsys, "why", *arguments, "--url", url.replace("http", "ws"))

            calling = asyncio.create_task(call(url.rstrip("/"), (token("ada", can_publish=True), token("bob")), 30))
            told: dict[str, Any] = {}
            while not any(one["limit"] == "none" for one in told.get("tracks", ())):
                assert not calling.done(), calling.result()
                status, out, _ = await ask(*KEYS, "--room", "stage", "--identity", "bob", "--json")
                told = json.loads(out)["participants"][0] if status == 0 else {}
            status, out, _ = await ask(*KEYS, "--room", "stage")
            lines = out.splitlines()
            assert status == 0
            assert [line for line in lines if not line.startswith(" ")] == [
                "ada: nothing is estimated of its path",
                "bob: nothing is estimated of its path",
            ]
            assert lines[-2].split()[:2] == ["ada", "microphone"]
            assert lines[-1].strip() == "none: gets everything that its publisher sends"
            await calling
            status, out, err = await ask(*KEYS, "--room", "nowhere")
            assert (status, out) == (1, "")
            assert "requested room does not exist" in err
            status, _, err = await ask("--keys", f"{KEY}: another secret that is long enough", "--room", "stage")
            assert status == 1
            assert "signature" in err

    def test_nobody_answers(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        status, _, err = run(capsys, "why", *KEYS, "--url", f"http://127.0.0.1:{port}", "--room", "stage")
        assert status == 1
        assert err.startswith("rtpcore: ")

    def test_video_is_told_in_two_lines(self) -> None:
        picture = {"spatial": 1, "temporal": 2, "width": 640, "height": 360}
        track = {
            "publisher": "grace",
            "track_sid": "TR_1",
            "kind": "video",
            "source": "camera",
            "limit": "bandwidth",
            "reason": "its path carries no more",
            "layer": picture,
            "granted": picture,
            "wished": {**picture, "spatial": 2, "width": 0},
            "keyframe_wait_ms": 120,
            "fraction_lost": 0.021,
            "round_trip_ms": 48,
            "repairs": {"nacks": 31, "retransmitted": 30, "fec_packets": 7},
            "playout_delay_ms": 0,
        }
        path = {"estimate_bps": 640_000, "cause": "loss", "reason": "packets get lost"}
        path |= {"video_budget_bps": 590_000, "granted_bps": 480_000}
        people = [{"identity": "ada", "path": path, "tracks": [track]}]
        assert as_table({"room": "stage", "participants": people}).splitlines() == [
            "ada: 640 kbit/s, 590 kbit/s for video; loss: packets get lost",
            "  grace camera             640x360 of layer 2     loss 2%  RTT 48 ms  repairs 31/30/7",
            "    bandwidth: its path carries no more",
        ]
