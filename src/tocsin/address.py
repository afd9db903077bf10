"""The address of a server as the user writes it, and how it is shown: without its secrets.

    amqp://user:password@host:5671/vhost?ca=ca.pem&cert=me.pem&key=me.key
    kafka://host:9092,other:9092          several servers of one cluster

User and password come from the address, else from the environment (`TOCSIN_BROKER_USER`,
`TOCSIN_BROKER_PASSWORD`, or a file that `TOCSIN_BROKER_PASSWORD_FILE` names); for an address under `source:` from
`TOCSIN_SOURCE_USER` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

TLS = ("ca", "cert", "key")
"""The parameters that name files for TLS."""
EXAMPLES = {
    "http": "http://127.0.0.1:8086",
    "kafka": "kafka://host:9092",
    "mqtt": "mqtt://host:1883",
    "pubsub": "pubsub://project/topic",
    "amqp": "amqp://host:5672/vhost",
}
"""An address of each kind, for whoever has written one that is none."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens and who asks; `str()` shows it without the password."""

    scheme: str
    host: str
    port: int | None = None
    path: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    """Further servers of the same cluster, as `host:port`."""
    setting: str = "broker"
    """The key of the pipeline file under which it stands: remedies name it, and the environment's variables."""

    def __str__(self) -> str:
        return f"{self.scheme}://{','.join(self.servers)}{'/' + self.path if self.path else ''}"

    @property
    def servers(self) -> tuple[str, ...]:
        """Every server, as `host:port`, or `host` where no port was given."""
        return (_server(self.host, self.port), *self.more)

    def worded(self, remedy: str) -> str:
        """A remedy that speaks of `broker:`, in the words of the setting under which this address stands."""
        for broker, source in _WORDS if self.setting == "source" else ():
            remedy = remedy.replace(broker, source)
        return remedy

    def tls_file(self, name: str) -> str | None:
        """The path of `ca`, `cert` or `key`, None if it was not given."""
        return self.options.get(name)


_WORDS = (
    ("TOCSIN_BROKER", "TOCSIN_SOURCE"),
    (", correct its name in `broker:`, or say `create: true`", ", or correct its name in `source:`"),
    (", or set `create: true`", ", or correct `topic` in `source:`"),
    ("begin with a new store", "let the consumer take everything that came, and move the journal away"),
    ("`broker:`", "`source:`"),
    ("`queue:`", "`topic:`"),
)
"""What a remedy for a broker says, and what it says where messages of others are taken out: nothing is made there."""


def _variables(setting: str) -> str:
    """What the names of the environment's variables for `broker` or `source` begin with."""
    return f"TOCSIN_{setting.upper()}"


def _no_address(text: str, kind: str) -> str:
    """All that is said of it: what Python's own parser says shows parts of it, and a password may be among them."""
    said = text.partition("://")[0].removesuffix("s")
    example = EXAMPLES[said if said in EXAMPLES else kind]
    signs = (
        "In a user, a password and after the servers write @ as %40, / as %2F, ? as %3F, # as %23 and % as %25; a port is a number up to 65535"
        if kind != "http"
        else "A port is a number up to 65535"
    )
    return f"this is not an address: expected one as in {example}. {signs}"


def parse_address(
    text: str, environment: Mapping[str, str], base: Path | None = None, setting: str = "broker", kind: str = "amqp"
) -> Address:
    """An address from the user's text; ValueError says what is wrong with it, and never shows a secret.

    Paths in its parameters are taken from `base`, the folder of the pipeline file; `setting` is its key there, and `kind` what an
    address there is like that does not say it.
    """
    try:
        whole = urlsplit(text)
        asks, at, servers = whole.netloc.rpartition("@")
        first, *others = servers.split(",")
        parts = whole._replace(netloc=asks + at + first)
        port = parts.port
        more = tuple(_other(server) for server in others)
    except ValueError:
        raise ValueError(_no_address(text, kind)) from None
    if not parts.scheme or not parts.hostname or _is_cut(whole):
        raise ValueError(_no_address(text, kind))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in TLS:
        if name in options and base is not None:
            options[name] = str(base / options[name])
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port,
        path=unquote(parts.path.removeprefix("/")),
        user=unquote(parts.username or "") or environment.get(f"{_variables(setting)}_USER", ""),
        password=unquote(parts.password or "") or _password(environment, _variables(setting)),
        options=options,
        more=more,
        setting=setting,
    )


def _is_cut(whole: SplitResult) -> bool:
    """Whether a sign in a password has ended the servers too early: its rest would be shown as a path."""
    return "@" not in whole.netloc and "@" in whole.path + whole.query + whole.fragment


def _server(host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def _other(text: str) -> str:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a comma without a server after it")
    return _server(parts.hostname, parts.port)


def _password(environment: Mapping[str, str], variables: str) -> str:
    file = environment.get(f"{variables}_PASSWORD_FILE")
    if file:
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            remedy = "correct its name in this environment variable, or let this user read it"
            raise ValueError(f"{variables}_PASSWORD_FILE: {file} cannot be read: {error.strerror}: {remedy}") from None
        except UnicodeDecodeError:
            raise ValueError(
                f"{variables}_PASSWORD_FILE: {file} is not text: write the password into it, in UTF-8"
            ) from None
    return environment.get(f"{variables}_PASSWORD", "")
