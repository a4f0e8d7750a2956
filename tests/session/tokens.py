"""Tokens for tests, made by hand on ``cryptography``, so that wrong ones can be made too."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

ISSUER: Final = "https://id.example.org"
AUDIENCE: Final = "mail.example.org"
RSA_KEY: Final = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY: Final = rsa.generate_private_key(65537, 2048)
EC_KEY: Final = ec.generate_private_key(ec.SECP256R1())
ED_KEY: Final = ed25519.Ed25519PrivateKey.generate()

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | bytes


def b64(octets: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def number(value: int) -> str:
    """As a JWK writes it."""
    return b64(value.to_bytes((value.bit_length() + 7) // 8))


def claims(now: float, **changes: Any) -> dict[str, Any]:
    """Good claims for alice; None takes one away."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "1", "exp": int(now) + 600, "iat": int(now),
            "email": "alice@example.org"}  # fmt: skip
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def sign(key: PrivateKey, algorithm: str, text: bytes) -> bytes:
    """The signature of an algorithm of RFC 7518 §3.1; bytes are a shared secret."""
    if isinstance(key, bytes):
        mac = hmac.HMAC(key, hashes.SHA256())
        mac.update(text)
        return mac.finalize()
    if isinstance(key, rsa.RSAPrivateKey):
        if algorithm.startswith("PS"):
            return key.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        return key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = utils.decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)
    return key.sign(text)


def token(
    payload: dict[str, Any],
    key: PrivateKey = RSA_KEY,
    algorithm: str = "RS256",
    **header: Any,
) -> str:
    """A compact JWS."""
    head = {"alg": algorithm, "typ": "JWT", **header}
    text = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(payload).encode())}"
    return f"{text}.{b64(sign(key, algorithm, text.encode()))}"


def pem(key: PrivateKey) -> bytes:
    """The public key."""
    assert not isinstance(key, bytes)
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def jwk(key: PrivateKey, **more: Any) -> dict[str, Any]:
    """The public key as a JWK."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **more}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": b64(point.x.to_bytes(32)),
            "y": b64(point.y.to_bytes(32)),
            **more,
        }
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw()), **more}


def key_set(*keys: dict[str, Any]) -> bytes:
    """A JWK set."""
    return json.dumps({"keys": keys}).encode()
