"""RabbitMQ over TLS: `amqps://`, with ?ca=, ?cert= and ?key= where the system's own authorities do not do."""

from tocsin.connectors.amqp import Sink, Source

__all__ = ["Sink", "Source"]
