"""A Kafka broker: one node that is controller too, on Java, with plain, TLS and password listeners."""

from __future__ import annotations

import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

import confluent_kafka.admin
import trustme
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives import serialization

from services import CACHE, Missing, Server, free_port, program

admin: Any = confluent_kafka.admin
"""Its types do not tell all that it has."""

HOME = CACHE / "kafka-4.4.0"
JAVA = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Xlog:disable")
CLUSTER = "AAAAAAAAAAAAAAAAAAAAAQ"

PASSWORDS = """\
listener.name.{name}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.{name}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_me="right";
listener.name.{name}.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""

# The lines about sessions let a restart after kill -9 take 3 to 5 s instead of 15.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:{plain},SSL://127.0.0.1:{tls},ASKS://127.0.0.1:{asks},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},SSL://127.0.0.1:{tls},ASKS://127.0.0.1:{asks}
listener.security.protocol.map=PLAIN:PLAINTEXT,SSL:SASL_SSL,ASKS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=200
"""


class Kafka(Server):
    """The broker: `plain`, `tls` and `asks` are its ports; the last two know the user `me`, password `right`."""

    def __init__(self, folder: Path) -> None:
        if not (HOME / "lib").is_dir():
            raise Missing("Kafka is not here: `make services` fetches it")
        self.plain, self.tls, self.asks, self._controller = (free_port() for _ in range(4))
        self._java = [program("java"), *JAVA, f"-XX:SharedArchiveFile={HOME}/classes.jsa", "-cp", f"{HOME}/lib/*"]
        super().__init__([*self._java, "kafka.Kafka", "server.properties"], folder, self._ready_now)
        self._configure()

    @property
    def url(self) -> str:
        """Where it listens without asking."""
        return f"kafka://127.0.0.1:{self.plain}"

    @property
    def ca(self) -> Path:
        """The certificate of who signed the server's."""
        return self.folder / "ca.pem"

    def topics(self) -> set[str]:
        """The names of all topics."""
        return set(self._client.list_topics(timeout=10).topics)

    def remove_before(self, topic: str, offset: int) -> None:
        """Remove what stands before an offset of partition 0, as retention does."""
        (removed,) = self._client.delete_records([TopicPartition(topic, 0, offset)]).values()
        removed.result(10)

    def add_user(self, name: str, password: str) -> None:
        """Let in a user that proves the password by SCRAM-SHA-256."""
        proof = admin.ScramCredentialInfo(admin.ScramMechanism.SCRAM_SHA_256, 4096)
        change = admin.UserScramCredentialUpsertion(name, proof, password.encode())
        self._client.alter_user_scram_credentials([change])[name].result(10)

    @cached_property
    def _client(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": f"127.0.0.1:{self.plain}", "log_level": 0})

    def _ready_now(self) -> bool:
        return bool(self._client.list_topics(timeout=1).brokers)

    def _configure(self) -> None:
        values = {"plain": self.plain, "tls": self.tls, "asks": self.asks, "controller": self._controller}
        text = PROPERTIES.format(folder=self.folder, **values)
        text += "".join(PASSWORDS.format(name=name) for name in ("ssl", "asks"))
        (self.folder / "server.properties").write_text(text)
        self._certify()
        self._format()

    def _certify(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        issued = authority.issue_cert("127.0.0.1", "localhost")
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        # Java reads keys of PKCS 8 only.
        plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        (self.folder / "server.pem").write_bytes(key.private_bytes(*plain) + chain)

    def _format(self) -> None:
        """Give the data's folder its first records."""
        tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", "server.properties"]
        subprocess.run([*self._java, *tool], cwd=self.folder, check=True, capture_output=True)
