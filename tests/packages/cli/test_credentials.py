"""API keys from the environment, files and a prompt; no error or text holds one."""

import os
from pathlib import Path

import pytest

from onetape.cli.credentials import ApiCredentials, read_credentials
from onetape.core.errors import ConfigurationError

CANARY = "CanarySecret0123456789"


def test_environment_variables_with_keys_are_read_and_removed() -> None:
    environment = {"ONETAPE_API_KEY": " key ", "ONETAPE_API_SECRET": f"{CANARY}\n", "HOME": "/x"}
    found = read_credentials(environment)
    assert (found.key, found.secret, found.password) == ("key", CANARY, "")
    assert environment == {"HOME": "/x"}


def test_key_files_are_read_and_one_that_others_may_read_prints_a_note(tmp_path: Path) -> None:
    key, secret = tmp_path / "key", tmp_path / "secret"
    key.write_text("key\n")
    secret.write_text(f"{CANARY}\n")
    key.chmod(0o600)
    secret.chmod(0o644)
    environment = {"ONETAPE_API_KEY_FILE": str(key), "ONETAPE_API_SECRET_FILE": str(secret)}
    found = read_credentials(environment)
    assert (found.key, found.secret) == ("key", CANARY)
    assert found.notes == (f"others on this computer may read {secret}: chmod 600 {secret}",)


def test_a_prompt_asks_for_missing_credentials() -> None:
    requested: list[str] = []

    def prompt(text: str) -> str:
        requested.append(text)
        return "typed"

    found = read_credentials({"ONETAPE_API_KEY": "key"}, needs_password=True, prompt=prompt)
    assert (found.key, found.secret, found.password) == ("key", "typed", "typed")
    assert requested == ["ONETAPE_API_SECRET: ", "ONETAPE_API_PASSWORD: "]


def test_a_key_in_pem_keeps_its_lines() -> None:
    pem = "-----BEGIN EC PRIVATE KEY-----\\nabc\\n-----END EC PRIVATE KEY-----"
    found = read_credentials({"ONETAPE_API_KEY": "key", "ONETAPE_API_SECRET": pem})
    assert found.secret.splitlines()[1] == "abc"


def test_nothing_prints_a_secret() -> None:
    found = ApiCredentials("CanaryKey", CANARY, "CanaryPhrase")
    for text in (repr(found), str(found), f"{found}", *map(str, found.__rich_repr__())):
        assert "Canary" not in text


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({}, "ONETAPE_API_KEY is not set"),
        ({"ONETAPE_API_KEY": "k"}, "ONETAPE_API_SECRET is not set"),
        ({"ONETAPE_API_KEY": "k", "ONETAPE_API_KEY_FILE": "f"}, "are both set"),
        ({"ONETAPE_API_KEY": " "}, "ONETAPE_API_KEY is empty"),
        ({"ONETAPE_API_KEY": f"{CANARY} {CANARY}"}, "must be one word"),
        ({"ONETAPE_API_KEY": f"{CANARY}\u00e9"}, "must be one word"),
        ({"ONETAPE_API_KEY_FILE": "/no/such/file"}, "cannot read /no/such/file"),
        ({"ONETAPE_API_KEY_FILE": os.devnull}, "is not a file with a key"),
    ],
)
def test_invalid_credentials_are_refused_without_being_shown(
    environment: dict[str, str], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        read_credentials(environment)
    assert CANARY not in str(caught.value)


def test_a_binary_key_file_is_refused_without_being_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\xff\xfeCanary")
    with pytest.raises(ConfigurationError, match="is not text") as caught:
        read_credentials({"ONETAPE_API_KEY_FILE": str(file)})
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
