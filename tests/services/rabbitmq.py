"""RabbitMQ, from Debian's package: a node of its own with its own port mapper, plain and over TLS.

The certificate is made for the run, for the name localhost; `ca` is its authority's file.  Everything listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pika
import trustme

from services import Server, free_port, listens, program

USER, PASSWORD = "tester", "s3cret/with:signs"
HOME = "/usr/lib/rabbitmq/bin"
QUIET = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
"""Erlang's schedulers do not spin while they wait: two cores are soon full."""


class RabbitMQ(Server):
    """One node; `port` and `tls_port` stay the same over restarts."""

    def __init__(self, folder: Path) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.ca, self.client_certificate = folder / "ca.pem", folder / "client.pem"
        self._mapper = _PortMapper(folder / "epmd")
        _write_certificates(folder, self.ca, self.client_certificate)
        (folder / "rabbitmq.conf").write_text(self._configuration(folder), encoding="ascii")
        (folder / "plugins").write_text("[].", encoding="ascii")
        super().__init__(
            # The program of that name on the path insists on root or on a user of its own.
            [program(f"{HOME}/rabbitmq-server")],
            folder,
            self._is_ready,
            {
                "HOME": str(folder),
                "LANG": "C.UTF-8",
                "ERL_EPMD_PORT": str(self._mapper.port),
                "RABBITMQ_NODENAME": f"t{self.port}@localhost",
                "RABBITMQ_NODE_PORT": str(self.port),
                "RABBITMQ_DIST_PORT": str(free_port()),
                "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
                "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
                "RABBITMQ_CONF_ENV_FILE": str(folder / "environment.conf"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
                "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
                "RABBITMQ_LOG_BASE": str(folder / "logs"),
                "RABBITMQ_PID_FILE": str(folder / "pid"),
                "RABBITMQ_PLUGINS_EXPAND_DIR": str(folder / "expanded"),
                "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": QUIET,
            },
        )

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"amqp://{USER}:s3cret%2Fwith%3Asigns@127.0.0.1:{self.port}"

    def client(self) -> pika.BlockingConnection:
        """A plain client, to look at what is there."""
        credentials = pika.PlainCredentials(USER, PASSWORD)
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, "/", credentials))

    def control(self, *words: str) -> None:
        """What `rabbitmqctl` does; each call takes a second or two."""
        command = [f"{HOME}/rabbitmqctl", "--node", self._environment["RABBITMQ_NODENAME"], *words]
        subprocess.run(command, env=self._environment, check=True, capture_output=True, timeout=60)

    def start(self) -> None:
        """Start the port mapper first: else the node starts one that stays behind."""
        self._mapper.start()
        super().start()

    def stop(self) -> None:
        """Stop the node, then its port mapper."""
        super().stop()
        self._mapper.stop()

    def _configuration(self, folder: Path) -> str:
        return "\n".join(
            [
                f"listeners.tcp.1 = 127.0.0.1:{self.port}",
                f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
                f"ssl_options.cacertfile = {self.ca}",
                f"ssl_options.certfile = {folder / 'server.pem'}",
                f"ssl_options.keyfile = {folder / 'server.key'}",
                "ssl_options.verify = verify_peer",
                "ssl_options.fail_if_no_peer_cert = false",
                "loopback_users = none",
                f"default_user = {USER}",
                f"default_pass = {PASSWORD}",
                "disk_free_limit.absolute = 50MB",
                "log.console = true",
                "log.file = false",
                "",
            ]
        )

    def _is_ready(self) -> bool:
        # pika logs every attempt that fails, so it is not asked before somebody listens.
        listens(self.port)
        self.client().close()
        return True


class _PortMapper(Server):
    """Erlang's daemon that knows at which port a node is reached."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        command = [program("epmd"), "-port", str(self.port), "-address", "127.0.0.1"]
        super().__init__(command, folder, lambda: listens(self.port))

    def start(self) -> None:
        """Start it, unless it runs: it outlives a node that was killed."""
        if self._process is None:
            super().start()


def _write_certificates(folder: Path, ca: Path, client: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca))
    server = authority.issue_cert("localhost")
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    server.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    authority.issue_cert("someone@example.org").private_key_and_cert_chain_pem.write_to_path(str(client))
