"""Messages a second through Mosquitto: the connector beside paho-mqtt alone, in the same run.

    python benchmarks/mqtt.py [--messages 5_000] [--runs 3]

Method: so many messages of 60 bytes are published at QoS 1 until all are confirmed, while a session holds them; then
they are read and acknowledged one by one, from the first call to the last acknowledgement.  The client alone does the
same in its own thread, with the same headers, as many messages under way and no look at what came.  Both take turns;
medians of several runs.  With MQTT 5 each message carries the five headers of Tocsin's, with 3.1.1 none.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from threading import Semaphore
from urllib.parse import quote

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tocsin.address import parse_address
from tocsin.connectors import Broker, open_sink, open_source
from tocsin.message import JSON, Message, headers_of

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from services.mosquitto import PASSWORD, USER, Mosquitto

BODY = b'{"device":"smoker","metric":"temp_f","time":1,"value":225.5}'
UNDER_WAY = 1000


def connector(server: Mosquitto, version: str, count: int) -> tuple[float, float]:
    """Seconds to publish and to read by the connector."""
    text = f"mqtt://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}?version={version}"
    broker = Broker(parse_address(text, {}), f"connector-{time.time_ns()}")
    source, sink = open_source(broker, broker.name), open_sink(broker)
    source.begin("0")
    source.close()
    messages = [Message(BODY, content_type=JSON, producer="smoker-1a2b", seq=n) for n in range(count)]
    sink.open()
    began, done = time.perf_counter(), 0
    sink.send(messages)
    while done < count:
        done += sink.confirmed(1)
    published = time.perf_counter() - began
    sink.close()
    source.begin("0")
    began, done = time.perf_counter(), 0
    while done < count:
        found = source.poll(1000, 1).messages
        source.ack(found)
        done += len(found)
    read = time.perf_counter() - began
    source.close()
    return published, read


def alone(server: Mosquitto, version: str, count: int) -> tuple[float, float]:
    """Seconds to publish and to read by the client alone, in its own thread."""
    name = f"alone-{time.time_ns()}"
    reader = client(server, version, f"{name}-reader")
    reader.subscribe(name, qos=1)
    time.sleep(0.2)
    reader.disconnect()
    reader.loop_stop()

    writer, free = client(server, version, f"{name}-writer"), Semaphore(UNDER_WAY)
    writer.on_publish = lambda *_: free.release()
    began = time.perf_counter()
    for number in range(count):
        free.acquire()
        writer.publish(name, BODY, qos=1, properties=headers(number) if version == "5" else None)
    for _ in range(UNDER_WAY):
        free.acquire()
    published = time.perf_counter() - began
    writer.disconnect()
    writer.loop_stop()

    came = Semaphore(0)
    began = time.perf_counter()
    reader = client(server, version, f"{name}-reader", on_message=lambda *_: came.release())
    for _ in range(count):
        came.acquire()
    read = time.perf_counter() - began
    reader.disconnect()
    reader.loop_stop()
    return published, read


def client(server: Mosquitto, version: str, name: str, on_message: object = None) -> Client:
    """A connected client whose session is kept."""
    five = version == "5"
    protocol = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
    made = Client(CallbackAPIVersion.VERSION2, name, clean_session=None if five else False, protocol=protocol)
    made.username_pw_set(USER, PASSWORD)
    # MQTT 5 has this server take 20 messages at a time, and disconnect who sends more.
    made.max_inflight_messages_set(20 if five else UNDER_WAY)
    made.on_message = on_message
    if five:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval, properties.ReceiveMaximum = 3600, UNDER_WAY
        made.connect("127.0.0.1", server.port, clean_start=False, properties=properties)
    else:
        made.connect("127.0.0.1", server.port)
    made.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.loop_start()
    while not made.is_connected():
        time.sleep(0.001)
    return made


def headers(number: int) -> Properties:
    """What the connector sends beside a message."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = JSON
    beside = headers_of(Message(b"", producer="smoker-1a2b", seq=number))
    properties.UserProperty = list(beside.items())
    return properties


def main() -> None:
    """Prints a table of rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Mosquitto(Path(folder))
        server.start()
        try:
            print(f"{'version':>8} {'':>10} {'published/s':>12} {'read/s':>8}")
            for version in ("5", "3.1.1"):
                pairs = [
                    (connector(server, version, options.messages), alone(server, version, options.messages))
                    for _ in range(options.runs)
                ]
                for column, who in enumerate(("connector", "alone")):
                    out, back = (
                        options.messages / statistics.median(pair[column][way] for pair in pairs) for way in (0, 1)
                    )
                    print(f"{version:>8} {who:>10} {out:>12,.0f} {back:>8,.0f}", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
