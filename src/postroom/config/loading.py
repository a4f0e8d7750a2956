"""Reading the configuration: one TOML file, the environment over it, every mistake at once.

Purpose: ``load`` gives Settings that are valid as a whole, or ConfigErrors with all that is wrong.

Invariants: nothing is half applied; unknown names are mistakes, not ignored; a value from the environment is judged like
one from the file. Environment names are ``POSTROOM_`` and the path with underscores: ``POSTROOM_LIMITS_MESSAGE_SIZE``.

It must not know: which settings exist (``settings`` does).
"""

from __future__ import annotations

import dataclasses
import difflib
import socket
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from postroom.config.checks import check_hostname
from postroom.config.contradictions import Place, contradictions
from postroom.config.positions import key_lines
from postroom.config.settings import (
    Settings,
    default_listeners,
)
from postroom.config.spec import Field, Kind, Spec, Unit, bare, fields_of, read_quantity, walk, write_quantity

ENVIRONMENT_PREFIX: Final = "POSTROOM_"
NOT_SETTINGS: Final = ("POSTROOM_TEST_", "POSTROOM_CONFIG")
MAX_FILE: Final = 1024 * 1024


@dataclass(slots=True, frozen=True)
class ConfigError:
    """One mistake: where it is, which setting, what is wrong and what might be meant.

    ``file`` is empty and ``line`` 0 for one in the environment.
    """

    file: str
    line: int
    setting: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        what = f"{self.setting}: " if self.setting else ""
        return f"{place}{what}{self.message}" + (f" ({self.suggestion})" if self.suggestion else "")


class ConfigErrors(Exception):
    """All that is wrong with a configuration, in the order of the file."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(map(str, self.errors)))


def load(path: Path | None, env: Mapping[str, str]) -> Settings:
    """Settings from a file (None: defaults) and an environment.

    Relative paths count from the file's directory (``data_dir`` too), those of sockets from the data directory.
    Raises ConfigErrors; a file that cannot be read is one, too.
    """
    file = "" if path is None else str(path)
    text, document = _read(path)
    reader = _Reader(file, key_lines(text) if document else {})
    values = reader.table(Settings, document, ())
    reader.environment(values, env)
    if reader.errors:
        raise ConfigErrors(sorted(reader.errors, key=lambda each: each.line))
    base = Path.cwd() if path is None else path.resolve().parent
    settings = _complete(_build(Settings, values), base)
    mistakes = [
        ConfigError(file, reader.line(place), _name(place), message)
        for place, message in contradictions(settings)
    ]
    if mistakes:
        raise ConfigErrors(mistakes)
    return settings


def _read(path: Path | None) -> tuple[str, dict[str, Any]]:
    if path is None:
        return "", {}
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE + 1)
        if len(raw) > MAX_FILE:
            raise ConfigErrors([ConfigError(str(path), 0, "", "is larger than 1 MiB")])
        text = raw.decode("utf-8").replace("\r\n", "\n")
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigErrors([ConfigError(str(path), 0, "", error.strerror or str(error))]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigErrors([ConfigError(str(path), line, "", "is not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as error:
        line, message = _syntax_error(error)
        raise ConfigErrors([ConfigError(str(path), line, "", f"not TOML: {message}")]) from None
    except RecursionError:
        raise ConfigErrors([ConfigError(str(path), 0, "", "not TOML: nested too deeply")]) from None


def _syntax_error(error: tomllib.TOMLDecodeError) -> tuple[int, str]:
    """The line out of tomllib's message (3.11 gives it in the text only), and the rest."""
    message = str(error)
    head, found, tail = message.rpartition(" (at line ")
    number = tail.partition(",")[0]
    return (int(number), head) if found and number.isdigit() else (0, message)


def _name(place: Place) -> str:
    """``("listeners", 0, "port")`` as people write it: ``listeners[0].port``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _closest(word: str, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else ""


class _Reader:
    """Turns tables into checked values and gathers mistakes."""

    def __init__(self, file: str, lines: Mapping[Place, int]) -> None:
        self.file = file
        self.lines = lines
        self.errors: list[ConfigError] = []

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest thing around it."""
        while place:
            if place in self.lines:
                return self.lines[place]
            place = place[:-1]
        return 0

    def wrong(self, place: Place, message: str, suggestion: str = "") -> None:
        self.errors.append(ConfigError(self.file, self.line(place), _name(place), message, suggestion))

    def table(self, kind: type, given: Mapping[str, Any], place: Place) -> dict[str, Any]:
        """The checked values of one table, by field; what is missing keeps its default."""
        fields = {field.name: field for field in fields_of(kind)}
        values: dict[str, Any] = {}
        for key, value in given.items():
            here = (*place, key)
            field = fields.get(key)
            if field is None:
                self.wrong(here, "no such setting", self.elsewhere(key, list(fields), place))
            elif field.section is None:
                self.value(values, field, value, here)
            elif field.repeated:
                values[key] = self.tables(field.section, value, here)
            elif isinstance(value, dict):
                values[key] = self.table(field.section, value, here)
            else:
                self.wrong(here, f"must be a table, written [{_name(here)}]")
        return values

    def elsewhere(self, key: str, here: list[str], place: Place) -> str:
        """What an unknown name may have been meant to be: a name close to it here, or the same in another section."""
        if hint := _closest(key, here):
            return hint
        for path, _ in walk(Settings):
            if path[-1] == key and path[:-1] != place:
                return f"it belongs to [{'.'.join(path[:-1])}]" if path[:-1] else "it belongs to the top"
        return ""

    def tables(self, kind: type, given: Any, place: Place) -> tuple[dict[str, Any], ...]:
        if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
            self.wrong(place, f"must be tables, each written [[{_name(place)}]]")
            return ()
        return tuple(self.table(kind, each, (*place, number)) for number, each in enumerate(given))

    def value(self, values: dict[str, Any], field: Field, given: Any, place: Place) -> None:
        try:
            values[field.name] = convert(field, given)
        except ValueError as error:
            suggestion = ""
            if field.kind is Kind.CHOICE and isinstance(given, str):
                suggestion = _closest(given, field.choices)
            self.wrong(place, str(error), suggestion)

    # --- the environment

    def environment(self, values: dict[str, Any], env: Mapping[str, str]) -> None:
        """Put what the environment says over the values of the file."""
        known = {ENVIRONMENT_PREFIX + "_".join(path).upper(): (path, field) for path, field in walk(Settings)}
        for name, text in env.items():
            if not name.startswith(ENVIRONMENT_PREFIX) or name.startswith(NOT_SETTINGS):
                continue
            if name not in known:
                # Orchestrators put variables of their own here (POSTROOM_PORT=tcp://...): only a near miss is a mistake.
                close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.9)
                if name in (f"{ENVIRONMENT_PREFIX}LISTENERS", f"{ENVIRONMENT_PREFIX}COLLECT"):
                    self.errors.append(
                        ConfigError("", 0, name, "such tables are configured in the file alone")
                    )
                elif close:
                    self.errors.append(
                        ConfigError("", 0, name, "no such setting", f"did you mean {close[0]}?")
                    )
                continue
            path, field = known[name]
            target = values
            for part in path[:-1]:
                target = target.setdefault(part, {})
            try:
                target[field.name] = convert(field, _from_text(field, text))
            except ValueError as error:
                self.errors.append(ConfigError("", 0, name, str(error)))


def _from_text(field: Field, text: str) -> Any:
    """A variable's text as the value TOML would have given."""
    match field.kind:
        case Kind.BOOLEAN:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
                text.strip().lower(), text
            )
        case Kind.STRINGS | Kind.INTEGERS:
            return [part.strip() for part in text.split(",") if part.strip()]
        case _:
            return text


def convert(field: Field, given: Any) -> Any:
    """The value of a setting from what TOML or the environment gave. Raises ValueError with a sentence's end."""
    spec = cast("Spec", field.spec)
    value = _typed(field, given, spec)
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, int) and not isinstance(number, bool):
            _in_range(number, spec)
    if spec.check is not None and value is not None:
        spec.check(value)
    return value


def _typed(field: Field, given: Any, spec: Spec) -> Any:
    match field.kind:
        case Kind.BOOLEAN:
            if isinstance(given, bool):
                return given
        case Kind.INTEGER:
            return _number(given, spec.unit)
        case Kind.STRING:
            if isinstance(given, str):
                return _clean(given)
        case Kind.PATH:
            if isinstance(given, str) and given:
                return Path(_clean(given)).expanduser()
            if given == "" and field.optional:
                return None
        case Kind.CHOICE:
            if given in field.choices:
                return bare(field.annotation)(given)
            raise ValueError("must be one of " + ", ".join(f'"{each}"' for each in field.choices))
        case Kind.STRINGS:
            if isinstance(given, list) and all(isinstance(each, str) for each in given):
                return tuple(map(_clean, given))
        case Kind.INTEGERS:
            if isinstance(given, list):
                return tuple(_number(each, spec.unit) for each in given)
    article = {Kind.BOOLEAN: "", Kind.INTEGER: "an "}.get(field.kind, "a ")
    raise ValueError(f"must be {article}{field.kind.value}")


def _number(given: Any, unit: Unit) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if isinstance(given, str):
        return read_quantity(given, unit)
    raise ValueError("must be a whole number")


def _clean(text: str) -> str:
    """No setting has a use for control characters, and a NUL in a path would be an exception later."""
    if any(ord(each) < 32 or ord(each) == 127 for each in text):
        raise ValueError("must not hold control characters")
    return text


def _in_range(number: int, spec: Spec) -> None:
    low, high = spec.minimum, spec.maximum
    if (low is None or number >= low) and (high is None or number <= high):
        return
    words = f" {spec.unit.value}" if spec.unit is not Unit.NONE else ""
    if low is not None and high is not None:
        raise ValueError(f"must be {_bound(low, spec)} to {_bound(high, spec)}{words}")
    raise ValueError(
        f"must be at least {low}{words}" if low is not None else f"must be at most {high}{words}"
    )


def _bound(number: int, spec: Spec) -> str:
    text = write_quantity(number, spec.unit)
    return text if text == str(number) else f"{number} ({text})"


# --- from values to Settings


def _build(kind: type, values: Mapping[str, Any]) -> Any:
    arguments: dict[str, Any] = {}
    for field in fields_of(kind):
        if field.name not in values:
            continue
        value = values[field.name]
        if field.section is None:
            arguments[field.name] = value
        elif field.repeated:
            arguments[field.name] = tuple(_build(field.section, each) for each in value)
        else:
            arguments[field.name] = _build(field.section, value)
    return kind(**arguments)


def _complete(settings: Settings, base: Path) -> Settings:
    """Resolve paths and fill in what depends on the machine or on other settings."""
    data_dir = base / settings.data_dir
    hostname = settings.hostname or _machine_name()
    listeners = settings.listeners or tuple(default_listeners(settings.base_port))

    def resolved(path: Path | None) -> Path | None:
        return None if path is None else base / path

    sockets = tuple(
        dataclasses.replace(
            each,
            socket=None if each.socket is None else data_dir / each.socket,
            client_authorities=resolved(each.client_authorities),
        )
        for each in listeners
    )

    smarthost = settings.queue.smarthost
    oauth, kerberos = settings.authentication.oauth, settings.authentication.kerberos
    return dataclasses.replace(
        settings,
        data_dir=data_dir,
        authentication=dataclasses.replace(
            settings.authentication,
            oauth=dataclasses.replace(
                oauth,
                keys=resolved(oauth.keys),
                introspection_secret_file=resolved(oauth.introspection_secret_file),
                certificate_authorities=resolved(oauth.certificate_authorities),
            ),
            kerberos=dataclasses.replace(kerberos, keytab=resolved(kerberos.keytab)),
        ),
        auth=dataclasses.replace(
            settings.auth, shared_secrets_key=resolved(settings.auth.shared_secrets_key)
        ),
        hostname=hostname,
        listeners=sockets,
        collect=tuple(
            dataclasses.replace(
                each,
                password_file=resolved(each.password_file),
                certificate_authorities=resolved(each.certificate_authorities),
                oauth_client_secret_file=resolved(each.oauth_client_secret_file),
                largest=each.largest or settings.limits.message_size,
            )
            for each in settings.collect
        ),
        tls=dataclasses.replace(
            settings.tls,
            certificate=resolved(settings.tls.certificate) or data_dir / "tls" / "cert.pem",
            key=resolved(settings.tls.key) or data_dir / "tls" / "key.pem",
        ),
        queue=dataclasses.replace(
            settings.queue,
            smarthost=dataclasses.replace(
                smarthost,
                password_file=resolved(smarthost.password_file),
                certificate_authorities=resolved(smarthost.certificate_authorities),
            ),
        ),
    )


def _machine_name() -> str:
    name = socket.gethostname().lower()
    try:
        check_hostname(name)
    except ValueError:
        name = ""
    return name or "localhost"
