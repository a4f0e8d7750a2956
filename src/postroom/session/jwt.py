"""JSON Web Tokens (RFC 7519) signed by keys we were given (RFC 7515, RFC 8725).

Invariants:
- Only public keys verify. A key is used for the algorithms of its own type, and of its own name where it has one, so no
  token chooses how it is verified: ``none`` and shared secrets (HS256) do not exist here (RFC 8725 §2.1, §3.1).
- No key is ever taken from a token (``jwk``, ``jku``, ``x5c``, ``x5u`` are not looked at: RFC 8725 §3.10).

It must not know: where key files are, clocks.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from postroom.session.bearer import Bearer, ClaimRules, TokenRefused

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""What can be configured; all asymmetric."""
MAX_TOKEN: Final = 9_000
MAX_KEYS: Final = 64
_RSA_BITS: Final = 2048
"""RFC 7518 §3.3."""
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt", "application/jwt"})
_CURVE_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_KINDS: Final[dict[str, type[RSAKey | ECKey | OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_BEGIN: Final = b"-----BEGIN "

_PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class KeysUnusable(Exception):
    """The text says why."""


@dataclass(slots=True, frozen=True)
class Key:
    """A public key, what it may verify, and its name (empty: it has none)."""

    key: RSAKey | ECKey | OKPKey
    algorithms: frozenset[str]
    name: str = ""


def read_keys(octets: bytes) -> tuple[Key, ...]:
    """The keys of a file: a JWK set or one JWK (RFC 7517), or PEM with public keys or certificates.

    Keys of a set that are for something else are passed over (RFC 7517 §5). Raises KeysUnusable.
    """
    keys = tuple(_read_pem(octets) if octets.lstrip().startswith(b"-----") else _read_set(octets))
    if not keys:
        raise KeysUnusable("holds no public key for signatures")
    if len(keys) > MAX_KEYS:
        raise KeysUnusable(f"holds more than {MAX_KEYS} keys")
    return keys


def _read_pem(octets: bytes) -> Iterator[Key]:
    for block in octets.split(_BEGIN)[1:]:
        pem = _BEGIN + block
        try:
            if block.startswith(b"PUBLIC KEY-"):
                public: Any = serialization.load_pem_public_key(pem)
            elif block.startswith(b"CERTIFICATE-"):
                public = x509.load_pem_x509_certificate(pem).public_key()
            else:
                raise KeysUnusable("may hold public keys and certificates, nothing else")
        except ValueError as error:
            raise KeysUnusable("holds PEM that cannot be read") from error
        key = _key_of(public)
        if key is None:
            raise KeysUnusable("holds a key of a kind that signs no tokens")
        yield key


def _read_set(octets: bytes) -> Iterator[Key]:
    try:
        document = msgspec.json.decode(octets)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KeysUnusable("is neither PEM nor JSON") from error
    entries = document.get("keys", [document]) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KeysUnusable("is not a JWK set")
    for entry in entries:
        if entry.get("kty") == "oct" or "d" in entry:
            raise KeysUnusable("holds a secret: give it public keys alone")
        if (key := _read_jwk(entry)) is not None:
            yield key


def _read_jwk(entry: dict[str, Any]) -> Key | None:
    kind = _KINDS.get(str(entry.get("kty")))
    operations = entry.get("key_ops", ["verify"])
    if kind is None or entry.get("use", "sig") != "sig" or "verify" not in operations:
        return None
    bare: dict[str, Any] = {name: entry[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in entry}
    try:
        public = kind.import_key(bare).raw_value
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise KeysUnusable("holds a key that cannot be read") from error
    key = _key_of(public)
    if key is None:
        return None
    algorithm = entry.get("alg")
    allowed = key.algorithms if algorithm is None else key.algorithms & {str(algorithm)}
    return Key(key.key, allowed, str(entry.get("kid", ""))) if allowed else None


def _key_of(public: Any) -> Key | None:
    """The key with the algorithms of its type; None for types that sign no tokens."""
    octets = b"" if not isinstance(public, _PublicKey) else public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    match public:
        case rsa.RSAPublicKey():
            if public.key_size < _RSA_BITS:
                raise KeysUnusable(f"holds an RSA key of less than {_RSA_BITS} bits")
            return Key(RSAKey.import_key(octets), frozenset(ALGORITHMS[:6]))
        case ec.EllipticCurvePublicKey():
            name = _CURVE_ALGORITHMS.get(public.curve.name)
            return Key(ECKey.import_key(octets), frozenset({name})) if name else None
        case ed25519.Ed25519PublicKey():
            return Key(OKPKey.import_key(octets), frozenset({"EdDSA", "Ed25519"}))
        case _:
            return None


class JwtVerifier:
    """Verifies tokens by their signature and their claims."""

    def __init__(self, keys: tuple[Key, ...], algorithms: frozenset[str], rules: ClaimRules) -> None:
        self._keys = keys
        self._algorithms = algorithms & frozenset(ALGORITHMS)
        self._rules = rules

    def verify(self, token: str, now: float) -> Bearer:
        """Whom the token stands for at ``now``, in seconds of Unix time. Raises TokenRefused."""
        octets = token.encode("ascii", "replace")
        if len(octets) > MAX_TOKEN or octets.count(b".") != 2:
            raise TokenRefused("not a JWT")
        text, _, last = octets.rpartition(b".")
        header, _, payload = text.partition(b".")
        algorithm, name = self._header(_read_object(header))
        signature = _decode(last)
        if not any(_signed(text, signature, algorithm, key) for key in self._candidates(algorithm, name)):
            raise TokenRefused("no key of ours has signed it")
        return self._rules.judge(_read_object(payload), now)

    def _header(self, header: dict[str, Any]) -> tuple[str, str]:
        """Algorithm and name of the key (empty: not said)."""
        algorithm, name, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise TokenRefused("an algorithm that is not allowed")
        if "crit" in header or "b64" in header:
            raise TokenRefused("critical extensions")  # RFC 7515 §4.1.11: none is understood
        # RFC 8725 §3.11: a signed object of another kind (a logout token, say) is not taken for an access token.
        if not isinstance(kind, str) or kind.lower() not in _TYPES or not isinstance(name, str):
            raise TokenRefused("a header of another kind")
        return algorithm, name

    def _candidates(self, algorithm: str, name: str) -> Iterator[Key]:
        """The keys named so, and those without a name."""
        return (
            key
            for key in self._keys
            if algorithm in key.algorithms and (not name or not key.name or key.name == name)
        )


def _signed(text: bytes, signature: bytes, algorithm: str, key: Key) -> bool:
    """``Key.algorithms`` has made sure that the key is of the algorithm's type."""
    try:
        # The registry's own front warns of EdDSA by name (RFC 9864), which is what issuers use.
        return jws.JWSRegistry.algorithms[algorithm].verify(text, signature, key.key)
    except (JoseError, ValueError, TypeError):
        return False


def _decode(part: bytes) -> bytes:
    """base64url without padding (RFC 7515 §2). Raises TokenRefused."""
    try:
        return a2b_base64(part.translate(_URL_SAFE) + b"=" * (-len(part) % 4), strict_mode=True)
    except Base64Error as error:
        raise TokenRefused("not base64url") from error


def _read_object(part: bytes) -> dict[str, Any]:
    """A part of the token: base64url of a JSON object. Raises TokenRefused."""
    try:
        found = msgspec.json.decode(_decode(part))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TokenRefused("not JSON") from error
    if not isinstance(found, dict):
        raise TokenRefused("not a JSON object")
    return found


_URL_SAFE: Final = bytes.maketrans(b"-_+/=", b"+/???")
"""base64url to base64 (RFC 4648 §5); the other alphabet's own characters and padding become invalid."""
