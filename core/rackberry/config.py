"""Configuration: one TOML file a role, checked against a struct, overridden by environment and flags.

Theory of operation: a role's settings are a msgspec struct whose fields carry their description;
`load` reads the file, lays environment variables and overrides over it, and converts the result, so
the struct is at once the parser, the default values and the documentation (`defaults_toml`). Whatever
is wrong is one sentence that names the place and what is accepted; an unknown key names the nearest
known one.

Environment variables are `RACKBERRY_` and the path of the key: `RACKBERRY_BROKER_PORT=1884`. Only keys
of text, numbers and booleans can be given that way. `RACKBERRY_BROKER=HOST:PORT` is short for the two.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from rackberry.topics import ROOT_DEFAULT, check_root

ENV_PREFIX = "RACKBERRY_"
SettingsT = TypeVar("SettingsT")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is fit to be shown to a person."""


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the broker is, and how to identify to it.

    >>> BrokerSettings(port=1884).port
    1884
    """

    host: Annotated[str, Meta(min_length=1, description="name or address of the broker")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=1, le=65535, description="8883 is usual with TLS")] = 1883
    root: Annotated[str, Meta(description="what stands in front of every topic")] = ROOT_DEFAULT
    username: Annotated[str, Meta(description="empty for none; a certificate needs none")] = ""
    password_file: Annotated[str, Meta(description="file that holds the password, mode 0600")] = ""
    ca_file: Annotated[str, Meta(description="authority that signed the broker; turns TLS on")] = ""
    certificate_file: Annotated[str, Meta(description="this client's certificate")] = ""
    key_file: Annotated[str, Meta(description="this client's private key")] = ""
    protocol: Annotated[
        Literal["5", "3.1.1"], Meta(description="MQTT version; 5 falls back by itself")
    ] = "5"
    keepalive_s: Annotated[
        int,
        Meta(
            ge=1,
            le=60,
            description="the broker publishes our last will after 1.5 times this silence",
        ),
    ] = 5

    def check_files(self) -> None:
        """See that the files named here can be read.

        Raises:
            ValueError: naming the key and the file of the first that cannot.
        """
        for key in ("password_file", "ca_file", "certificate_file", "key_file"):
            path = getattr(self, key)
            if path and not os.access(path, os.R_OK):
                why = "cannot be read by this user" if Path(path).exists() else "is not there"
                raise ValueError(f"broker.{key}: the file {path} {why}")

    def __post_init__(self) -> None:
        check_root(self.root)
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("certificate_file and key_file go together: give both or neither")
        if self.certificate_file and not self.ca_file:
            raise ValueError(
                "certificate_file needs ca_file: a client certificate is used with TLS only"
            )


def parse_host_port(text: str, port_default: int = 1883) -> tuple[str, int]:
    """The two halves of HOST:PORT; a bare host gets `port_default`.

    Raises:
        ConfigError: when the port is not a number from 1 to 65535, or the host is empty.

    >>> parse_host_port("pi-master:1884"), parse_host_port("[::1]:1883"), parse_host_port("pi-master")
    (('pi-master', 1884), ('::1', 1883), ('pi-master', 1883))
    """
    host, separator, port_text = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port_text = text, str(port_default)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port_text.isdecimal() or not 1 <= int(port_text) <= 65535:
        raise ConfigError(f"broker {text!r} is not HOST:PORT, with a port from 1 to 65535")
    return host, int(port_text)


def load(
    shape: type[SettingsT],
    path: Path | str | None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> SettingsT:
    """The settings of a role.

    Args:
        shape: the struct to fill.
        path: TOML file; None for defaults only.
        env: environment to take `RACKBERRY_*` from; None for this process's own.
        overrides: dotted key -> value, such as `{"broker.port": 1884}`; None values are ignored.

    Raises:
        ConfigError: one sentence on what is wrong and what is accepted.

    >>> load(BrokerSettings, None, env={"RACKBERRY_PORT": "1999"}).port
    1999
    """
    source = str(path) if path is not None else "the defaults"
    tree: dict[str, Any] = {}
    if path is not None:
        tree = _read(Path(path))
    _check_keys(shape, tree, source, "")
    for dotted, text in _from_env(shape, os.environ if env is None else env).items():
        _put(tree, dotted, text)
    for dotted, value in (overrides or {}).items():
        if value is not None:
            _put(tree, dotted, value)
    try:
        settings = msgspec.convert(tree, shape, strict=True)
        broker = getattr(settings, "broker", settings)
        if isinstance(broker, BrokerSettings):
            broker.check_files()
        return settings
    except msgspec.ValidationError as error:
        words = _in_words(error)
        if "[...]" in words.partition(": ")[0]:
            words = words.replace("[...]", _culprit(shape, tree, words), 1)
        raise ConfigError(f"{source}: {words}") from None
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _in_words(error: msgspec.ValidationError) -> str:
    text, _, where = str(error).partition(" - at `")
    if where.startswith("key` in `"):  # the name of an entry, not its content
        where = where.removeprefix("key` in `").removesuffix("`") + "[...]"
        text = f"this name is not allowed, {text[:1].lower()}{text[1:]}"
    where = where.removesuffix("`").removeprefix("$").removeprefix(".").removesuffix("`")
    text = text.replace("`", "")
    text = text[:1].lower() + text[1:]
    return f"{where}: {text}" if where else text


def _culprit(shape: Any, tree: Any, words: str) -> str:
    """Which entry of a table of named entries is wrong: msgspec says only that one of them is.

    It is looked for as the one that is refused alone, which is the table's last path element.
    """
    for name in words.partition("[...]")[0].split("."):
        shape, tree = _fields(_bare(shape)).get(name), tree.get(name)
    if isinstance(tree, dict):
        for key, item in tree.items():
            try:
                msgspec.convert({key: item}, shape)
            except (msgspec.ValidationError, ValueError):
                return f".{key}"
    return "[...]"


def _fields(shape: Any) -> dict[str, Any]:
    """Field name -> type, for a struct; nothing for any other type."""
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        hints = get_type_hints(shape, include_extras=True)
        return {name: hints[name] for name in shape.__struct_fields__}
    return {}


def _bare(hint: Any) -> Any:
    """The type below annotations and `| None`."""
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    alternatives = [given for given in get_args(hint) if given is not type(None)]
    if type(None) in get_args(hint) and len(alternatives) == 1:
        return _bare(alternatives[0])
    return hint


def _check_keys(shape: Any, tree: Any, source: str, where: str) -> None:
    """Refuse unknown keys with the nearest known one; msgspec alone would only name the culprit."""
    shape = _bare(shape)
    if get_origin(shape) in {tuple, list} and isinstance(tree, list):
        for index, item in enumerate(tree):
            _check_keys(get_args(shape)[0], item, source, f"{where}[{index}]")
        return
    if get_origin(shape) is dict and isinstance(tree, dict):
        for key, item in tree.items():
            _check_keys(get_args(shape)[1], item, source, f"{where}.{key}".lstrip("."))
        return
    known = _fields(shape)
    if not known or not isinstance(tree, dict):
        return
    for key, value in tree.items():
        place = f"{where}.{key}".lstrip(".")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"{source}: unknown key {place!r}; {hint}Known here: {', '.join(known)}."
            )
        _check_keys(known[key], value, source, place)


def _scalars(shape: Any, where: str = "") -> dict[str, Any]:
    """Dotted key -> type, for all keys that one word of text can set."""
    found: dict[str, Any] = {}
    for name, hint in _fields(shape).items():
        bare = _bare(hint)
        if _fields(bare):
            found |= _scalars(bare, f"{where}{name}.")
        elif bare in {str, int, float, bool} or get_origin(bare) is Literal:
            found[where + name] = bare
    return found


def _from_env(shape: Any, env: Mapping[str, str]) -> dict[str, Any]:
    scalars = _scalars(shape)
    found: dict[str, Any] = {}
    if "broker.host" in scalars and (text := env.get(f"{ENV_PREFIX}BROKER")):
        found["broker.host"], found["broker.port"] = parse_host_port(text)
    for dotted, bare in scalars.items():
        variable = ENV_PREFIX + dotted.replace(".", "_").upper()
        if variable in env:
            try:
                found[dotted] = msgspec.convert(env[variable], bare, strict=False)
            except msgspec.ValidationError as error:
                raise ConfigError(f"environment variable {variable}: {_in_words(error)}") from None
    return found


def _put(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *tables, key = dotted.split(".")
    for table in tables:
        tree = tree.setdefault(table, {})
    tree[key] = value


def defaults_toml(shape: type[msgspec.Struct]) -> str:
    """A commented TOML file with every key of `shape` and its default.

    >>> print(defaults_toml(BrokerSettings).splitlines()[1])
    host = "127.0.0.1"
    """
    return "\n".join(_toml_lines(shape, "")) + "\n"


def _toml_lines(shape: type[msgspec.Struct], table: str) -> list[str]:
    plain: list[str] = []
    nested: list[str] = []
    for field in msgspec.structs.fields(shape):
        about = _description(field.type)
        bare = _bare(field.type)
        if _fields(bare):
            path = f"{table}{field.encode_name}"
            summary = (bare.__doc__ or "").strip().splitlines()[0]
            nested += ["", f"# {summary}", f"[{path}]", *_toml_lines(bare, f"{path}.")]
            continue
        default = field.default_factory() if callable(field.default_factory) else field.default
        note = f"# {about}" if about else "#"
        if default is msgspec.NODEFAULT:
            plain += [f"{note} (no default: must be given)", f"# {field.encode_name} ="]
        elif default is None:
            plain += [f"{note} (not set by default)", f"# {field.encode_name} ="]
        elif isinstance(default, (tuple, list, dict)) and not default:
            plain += [f"{note} (none by default)", f"# {field.encode_name} = []"]
        else:
            value = msgspec.json.encode(default).decode()
            # A default may stand for "not given" (an empty name) and be refused when it is given.
            mark = "" if _is_accepted(default, field.type) else "# "
            plain += [note, f"{mark}{field.encode_name} = {value}"]
    return plain + nested


def _is_accepted(value: object, hint: Any) -> bool:
    try:
        msgspec.convert(msgspec.to_builtins(value), hint)
    except msgspec.ValidationError:
        return False
    return True


def _description(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Meta) and extra.description:
                return extra.description
        return _description(get_args(hint)[0])
    for part in get_args(hint):
        if text := _description(part):
            return text
    return ""
