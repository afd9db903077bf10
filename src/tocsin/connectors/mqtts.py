"""MQTT over TLS: what `mqtt.py` has, under the name that its addresses begin with."""

from tocsin.connectors.mqtt import Sink, Source

__all__ = ["Sink", "Source"]
