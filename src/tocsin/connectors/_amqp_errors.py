"""What RabbitMQ and pika say, as our errors: two tables, of which the first words that fit decide.

pika tells its errors apart by class only while a connection is open.  Before, it guesses a class from how
far it had come and puts the first cause into it as text.  That text is the same everywhere, so words decide.
"""

from __future__ import annotations

import re

from tocsin.address import Address
from tocsin.errors import NotConnected, SetupError, TocsinError

TO_MEND = {
    r"Login was refused": (
        "the broker refuses this user or this password: correct them in the address, or in TOCSIN_BROKER_USER and "
        "TOCSIN_BROKER_PASSWORD. RabbitMQ lets 'guest' in from its own machine only"
    ),
    r"vhost (.+?) not found": (
        r"the broker has no virtual host '\1': correct the path of the address, or make it with `rabbitmqctl add_vhost`"
    ),
    r"(access to vhost .+? refused for user '.*?')$": r"\1: grant it with `rabbitmqctl set_permissions`",
    r"ACCESS_REFUSED - (.+)": (
        r"\1: grant the user permission to read, to write and, with `create: true`, to configure, "
        "with `rabbitmqctl set_permissions`"
    ),
    r"certificate verify failed: (.+?) \(_ssl": (
        r"the broker's certificate is not trusted (\1): name the file of the authority that signed it with ?ca=FILE, "
        "and the host by the name that is in the certificate"
    ),
    r"WRONG_VERSION_NUMBER": (
        "there is no TLS at this port: take the broker's port for TLS, usually 5671, or amqp:// for a connection without"
    ),
    r"ALERT_(?!CLOSE|INTERNAL|USER)(\w+)": (
        r"the broker refuses our side of TLS (\1): give a certificate that it trusts with ?cert=FILE&key=FILE"
    ),
    r"no (queue|exchange) '(.+?)' in vhost": (
        r"there is no \1 '\2': make it, correct its name in `broker:`, or say `create: true`"
    ),
    r"inequivalent arg 'x-dead-letter-routing-key' for queue '(.+?)' in vhost .*?'of (\d+)'.*?'of (\d+)'": (
        r"the queue '\1' is one of \3, and `partitions` has \2: set `partitions: \3`. For another number let the consumer take "
        "everything, and begin anew: delete the queues, or give `broker:` another `name`; move the producer's spool away; and name another `store:`"
    ),
    r"inequivalent arg '(.+?)' for (queue|exchange) '(.+?)' in vhost '.*?': (.+)": (
        r"\2 '\3' exists already, and its '\1' is another one: \4. Delete it once it is empty, and it is made anew; or "
        "take it as it is with `create: false`"
    ),
    r"PRECONDITION_FAILED - (invalid .+)": r"\1: give a queue that this broker can have, as with ?queue_type=classic",
    r"PRECONDITION_FAILED - (message size .+)": r"\1: raise max_message_size in rabbitmq.conf",
    r"NoFreeChannels": (
        "there are more partitions than the broker allows channels in a connection: raise channel_max in rabbitmq.conf"
    ),
}
"""The server was reached and says no: SetupError."""

COMES_BACK = {
    r"Connection refused": "nobody listens there: start the broker, or correct host and port",
    r"gaierror\(\S+ '(.+?)'": r"the host cannot be found (\1): correct its name, or mend name resolution",
    r"IncompatibleProtocol": (
        "it hung up before it said a word: it is still starting, or its port is for TLS, and amqps:// is right"
    ),
    r"ConsumerCancelled": "the broker ended a consumer: its queue was deleted, or has moved",
    r"([A-Z]+_[A-Z]+ - .+)": r"the broker ended the connection (\1)",
    r"Timeout": "the broker is silent: see whether it runs, and whether the network does",
}
"""The server is not there, or has gone: NotConnected, as is whatever stands in neither table."""


def explained(address: Address, error: BaseException) -> TocsinError:
    """Ours for what pika said; to be raised from it."""
    said = getattr(error, "reply_text", None) or repr(error).replace("\\", "").rstrip("\"'(),")
    for kind, meanings in ((SetupError, TO_MEND), (NotConnected, COMES_BACK)):
        for words, meaning in meanings.items():
            if found := re.search(words, said):
                return kind(f"{address}: {address.worded(found.expand(meaning))}")
    return NotConnected(
        f"{address}: the connection was lost: see whether the broker runs, and whether the network does"
    )
