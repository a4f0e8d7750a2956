"""JSON Web Tokens: each algorithm's good ones, and every known way to pass off a bad one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from postroom.session.bearer import INSUFFICIENT, INVALID, ClaimRules, TokenRefused
from postroom.session.jwt import ALGORITHMS, JwtVerifier, KeysUnusable, read_keys
from tests.session.tokens import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    ISSUER,
    OTHER_RSA_KEY,
    RSA_KEY,
    PrivateKey,
    b64,
    claims,
    jwk,
    key_set,
    pem,
    sign,
    token,
)

NOW = 1_795_000_000.0
RULES = ClaimRules(ISSUER, frozenset({AUDIENCE}))
ALL = key_set(jwk(RSA_KEY), jwk(EC_KEY), jwk(ED_KEY))


def verifier(keys: bytes = ALL, rules: ClaimRules = RULES, *algorithms: str) -> JwtVerifier:
    return JwtVerifier(read_keys(keys), frozenset(algorithms or ALGORITHMS), rules)


def refused(text: str, by: JwtVerifier | None = None, word: str = INVALID) -> str:
    """The reason in the log."""
    with pytest.raises(TokenRefused) as caught:
        (by or verifier()).verify(text, NOW)
    assert caught.value.word == word
    assert caught.value.public == "Authentication failed"
    return caught.value.private


def good(text: str, by: JwtVerifier) -> bool:
    return by.verify(text, NOW).login == "alice@example.org"


# --- signatures


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA_KEY, "RS256"), (RSA_KEY, "PS256"), (EC_KEY, "ES256"), (ED_KEY, "EdDSA"), (ED_KEY, "Ed25519")],
)
@pytest.mark.parametrize("form", ["set", "one", "pem"])
def test_good_tokens(key: PrivateKey, algorithm: str, form: str) -> None:
    keys = {"set": ALL, "one": json.dumps(jwk(key)).encode(), "pem": pem(OTHER_RSA_KEY) + pem(key)}[form]
    bearer = verifier(keys).verify(token(claims(NOW), key, algorithm), NOW)
    assert bearer.login == "alice@example.org"
    assert bearer.expires == NOW + 600


def test_rfc_8037_example() -> None:
    """RFC 8037 appendix A.4: the signature is right, and the payload is no JSON."""
    key = b'{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
    text = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    assert refused(text, verifier(key)) == "not JSON"
    assert refused(text[:-6] + "AAAAAA", verifier(key)) == "no key of ours has signed it"


def test_another_key() -> None:
    assert refused(token(claims(NOW), OTHER_RSA_KEY)) == "no key of ours has signed it"


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
def test_none_is_no_algorithm(name: str) -> None:
    header = b64(json.dumps({"alg": name, "typ": "JWT"}).encode())
    text = f"{header}.{b64(json.dumps(claims(NOW)).encode())}."
    assert "algorithm" in refused(text)
    lenient = JwtVerifier(read_keys(ALL), frozenset({"none", "HS256", *ALGORITHMS}), RULES)
    assert "algorithm" in refused(text, lenient)


@pytest.mark.parametrize(
    "secret", [pem(RSA_KEY), pem(RSA_KEY).strip(), json.dumps(jwk(RSA_KEY)).encode(), b""]
)
def test_a_public_key_is_no_shared_secret(secret: bytes) -> None:
    """RFC 8725 §2.1: the classical confusion of algorithms."""
    text = token(claims(NOW), secret, "HS256")
    assert "algorithm" in refused(text)
    lenient = JwtVerifier(read_keys(pem(RSA_KEY)), frozenset({"HS256", "RS256"}), RULES)
    assert "algorithm" in refused(text, lenient)


def test_an_algorithm_that_is_not_configured() -> None:
    assert "algorithm" in refused(token(claims(NOW), EC_KEY, "ES256"), verifier(ALL, RULES, "RS256"))


@pytest.mark.parametrize("algorithm", ["RS256", "ES384", "EdDSA"])
def test_a_key_serves_the_algorithms_of_its_type(algorithm: str) -> None:
    assert refused(token(claims(NOW), EC_KEY, algorithm), verifier(pem(EC_KEY))) == (
        "no key of ours has signed it"
    )


def test_a_key_that_names_its_algorithm_serves_no_other() -> None:
    by = verifier(key_set(jwk(RSA_KEY, alg="PS256")))
    assert good(token(claims(NOW), algorithm="PS256"), by)
    assert refused(token(claims(NOW), algorithm="RS256"), by) == "no key of ours has signed it"


def test_names_of_keys() -> None:
    by = verifier(key_set(jwk(RSA_KEY, kid="a"), jwk(OTHER_RSA_KEY, kid="b")))
    assert good(token(claims(NOW), kid="a"), by)
    assert good(token(claims(NOW)), by)
    assert refused(token(claims(NOW), kid="b"), by)
    assert refused(token(claims(NOW), kid="c"), by)


def test_no_key_comes_from_the_token() -> None:
    own = jwk(OTHER_RSA_KEY)
    assert refused(token(claims(NOW), OTHER_RSA_KEY, jwk=own, jku="https://evil.test/keys", x5c=["AA=="]))


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"typ": "logout+jwt"}, {"typ": 1}, {"kid": 1}, {"alg": 1},
     {"alg": ["RS256"]}, {"alg": None}],
)  # fmt: skip
def test_headers_that_are_not_understood(header: dict[str, Any]) -> None:
    assert refused(_raw({"alg": "RS256", **header}))


def _raw(header: dict[str, Any], payload: bytes = b"{}") -> str:
    """Any header over any payload, well signed."""
    text = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
    return f"{text}.{b64(sign(RSA_KEY, 'RS256', text.encode()))}"


def test_types() -> None:
    for name in ("JWT", "at+jwt", "application/at+JWT"):
        assert good(token(claims(NOW), typ=name), verifier())


@pytest.mark.parametrize("change", [lambda t: t + "A", lambda t: t + "=", lambda t: t.replace(".", "..", 1),
                                    lambda t: "." + t, lambda t: t.rpartition(".")[0] + ".",
                                    lambda t: t[:40] + "!" + t[41:], lambda t: t[:-4] + "++//",
                                    lambda _: "A" * 9001, lambda _: "..", lambda _: "", lambda t: "\u20ac" + t])  # fmt: skip
def test_damaged_tokens(change: Any) -> None:
    assert refused(change(token(claims(NOW))))


def test_json_that_nests_deeply() -> None:
    deep = b64(b'{"a":' + b"[" * 6000)
    assert refused(f"{deep}.{deep}.AA")
    assert refused(_raw({"alg": "RS256"}, b'{"a":' + b"[" * 6000)) == "not JSON"


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=200))
def test_any_text_is_refused(text: str) -> None:
    refused(text)


# --- claims


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": None}, "another issuer"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": ISSUER.upper()}, "another issuer"),
        ({"iss": [ISSUER]}, "another issuer"),
        ({"aud": None}, "no good aud"),
        ({"aud": "other"}, "another audience"),
        ({"aud": AUDIENCE + "x"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": [AUDIENCE, 1]}, "no good aud"),
        ({"aud": {AUDIENCE: 1}}, "no good aud"),
        ({"exp": None}, "no good exp"),
        ({"exp": str(int(NOW) + 600)}, "no good exp"),
        ({"exp": True}, "no good exp"),
        ({"exp": int(NOW) - 60}, "expired"),
        ({"exp": -1}, "expired"),
        ({"nbf": int(NOW) + 61}, "not valid yet (nbf)"),
        ({"nbf": "0"}, "no good nbf"),
        ({"iat": int(NOW) + 3600}, "not valid yet (iat)"),
        ({"email": None}, "no good email"),
        ({"email": ""}, "no good email"),
        ({"email": ["alice@example.org"]}, "no good email"),
        ({"email": "a" * 321}, "no good email"),
        ({"email_verified": False}, "the address is not verified"),
        ({"email_verified": "false"}, "the address is not verified"),
    ],
)
def test_claims(changes: dict[str, Any], reason: str) -> None:
    # nbf and iat that are missing are taken for now, which is why None is not among their cases.
    assert refused(token(claims(NOW, **changes))) == reason


@pytest.mark.parametrize(
    "changes",
    [{"aud": ["other", AUDIENCE]}, {"exp": int(NOW) - 59}, {"exp": NOW + 0.5}, {"exp": 1 << 200},
     {"nbf": int(NOW) + 60}, {"iat": None}, {"email_verified": True}, {"email_verified": "true"}],
)  # fmt: skip
def test_claims_that_will_do(changes: dict[str, Any]) -> None:
    assert verifier().verify(token(claims(NOW, **changes)), NOW).login == "alice@example.org"


def test_scope() -> None:
    by = verifier(rules=ClaimRules(ISSUER, frozenset({AUDIENCE}), scope="mail"))
    for fits in ({"scope": "openid mail"}, {"scp": "mail"}, {"scp": ["openid", "mail"]}):
        assert good(token(claims(NOW, **fits)), by)
    for bad in ({}, {"scope": "mails"}, {"scope": "Mail"}, {"scope": ""}):
        assert refused(token(claims(NOW, **bad)), by, INSUFFICIENT)


def test_another_claim_names_the_user() -> None:
    by = verifier(rules=ClaimRules(ISSUER, frozenset({AUDIENCE}), user_claim="sub"))
    assert by.verify(token(claims(NOW, sub="bob")), NOW).login == "bob"


def test_introspected_claims_may_lack_issuer_and_end() -> None:
    bearer = RULES.judge({"aud": AUDIENCE, "email": "a@b"}, NOW, introspected=True)
    assert bearer.expires == NOW
    with pytest.raises(TokenRefused):
        RULES.judge({"iss": "x", "aud": AUDIENCE, "email": "a@b"}, NOW, introspected=True)


# --- key files


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "neither PEM nor JSON"),
        (b"[]", "not a JWK set"),
        (b'{"keys":{}}', "not a JWK set"),
        (b'{"keys":[1]}', "not a JWK set"),
        (b'{"keys":[]}', "no public key"),
        (b"[" * 100_000, "neither PEM nor JSON"),
        (key_set({"kty": "oct", "k": "AAAA"}), "a secret"),
        (key_set(jwk(RSA_KEY, d="AA")), "a secret"),
        (key_set(jwk(RSA_KEY, use="enc")), "no public key"),
        (key_set(jwk(RSA_KEY, alg="HS256")), "no public key"),
        (key_set(jwk(RSA_KEY, alg=["RS256"])), "no public key"),
        (key_set({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "cannot be read"),
        (key_set({"kty": "RSA"}), "cannot be read"),
        (key_set(*[jwk(EC_KEY)] * 65), "more than 64"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (
            RSA_KEY.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "nothing else",
        ),
        (pem(rsa.generate_private_key(65537, 1024)), "2048"),
    ],
)
def test_key_files_that_are_refused(octets: bytes, reason: str) -> None:
    with pytest.raises(KeysUnusable, match=reason):
        read_keys(octets)


def test_keys_for_other_purposes_are_passed_over() -> None:
    keys = read_keys(key_set(jwk(OTHER_RSA_KEY, use="enc"), {"kty": "XYZ"}, jwk(EC_KEY, use="sig", kid="k")))
    assert [(key.name, key.algorithms) for key in keys] == [("k", frozenset({"ES256"}))]
