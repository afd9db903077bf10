"""Mosquitto, an MQTT server: with a password file, and on a second port with TLS.

It keeps sessions and messages in memory and writes them down when it is asked to end.  Killed at once it loses
messages that it had acknowledged: a test that kills it measures Mosquitto, so tests `stop` it, or cut the connection.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import trustme
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from services import Server, free_port, program

USER, PASSWORD = "tocsin", "pass word/1"


class Mosquitto(Server):
    """A server whose `port` takes our user only, and whose `tls_port` is trusted by `ca`.

    Nobody may use topics below `secret/`.
    """

    def __init__(self, folder: Path) -> None:
        mosquitto = program("mosquitto", "/usr/sbin/mosquitto")
        self.port, self.tls_port = free_port(), free_port()
        self.ca = folder / "ca.pem"
        folder.mkdir(parents=True, exist_ok=True)
        _certify(folder)
        passwords = folder / "passwords"
        command = [program("mosquitto_passwd"), "-b", "-c", str(passwords), USER, PASSWORD]
        subprocess.run(command, check=True, capture_output=True)
        (folder / "allowed").write_text(f"user {USER}\ntopic readwrite #\ntopic deny secret/#\n")
        settings = folder / "mosquitto.conf"
        settings.write_text(self._settings(folder))
        super().__init__([mosquitto, "-c", str(settings)], folder, self._ready_to_serve)

    def _settings(self, folder: Path) -> str:
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"listener {self.tls_port} 127.0.0.1",
            f"certfile {folder}/server.pem",
            f"keyfile {folder}/server.key",
            "allow_anonymous false",
            f"password_file {folder}/passwords",
            f"acl_file {folder}/allowed",
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 100000",
            "log_dest stdout",
        ]
        # As root it would become a user who cannot read the folder.
        return "\n".join([*lines, "user root"] if os.getuid() == 0 else lines) + "\n"

    def _ready_to_serve(self) -> bool:
        """Whether it takes our user's connection."""
        client = Client(CallbackAPIVersion.VERSION2, "ready")
        client.username_pw_set(USER, PASSWORD)
        client.connect("127.0.0.1", self.port)
        client.loop(1)
        connected = client.is_connected()
        client.disconnect()
        return connected


def _certify(folder: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
