"""What is cut out of texts, command lines and configs, and what is left alone."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from karaoke_train.runlog import secrets
from karaoke_train.runlog.secrets import cut, cut_argv, cut_config, hide


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_hidden", ())


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["--api_key", "abc", "x"], ["--api_key", "***", "x"]),
        (["--api-key=abc"], ["--api-key=***"]),
        (["--wandb_api_key=a=b"], ["--wandb_api_key=***"]),
        (["WANDB_API_KEY=abc"], ["WANDB_API_KEY=***"]),
        (["+trainer.hubToken=abc"], ["+trainer.hubToken=***"]),
        (["--hf-token", "abc"], ["--hf-token", "***"]),
        (["--use_token", "--lr", "1"], ["--use_token", "--lr", "1"]),
        (["--token", "-v", "x"], ["--token", "-v", "x"]),
        (["--token", "-abc"], ["--token", "***"]),
        (["--max_tokens", "100", "--pad_token=<p>"], ["--max_tokens", "100", "--pad_token=<p>"]),
        (["--tokenizer=bpe", "--passes", "2"], ["--tokenizer=bpe", "--passes", "2"]),
        (["--sort_key", "loss"], ["--sort_key", "loss"]),
        (["token", "x"], ["token", "x"]),
        (["--url", "https://me:pw@host/x"], ["--url", "https://***@host/x"]),
        (["--url=https://a:p@ss@host"], ["--url=https://***@host"]),
        (["--url=https://key@host"], ["--url=https://***@host"]),
        (["--url=https://host/@x"], ["--url=https://host/@x"]),
        (["https://h/x?a=1&access_token=t&b=2"], ["https://h/x?a=1&access_token=***&b=2"]),
        (["--data=s3://b/x?X-Amz-Signature=ab"], ["--data=s3://b/x?X-Amz-Signature=***"]),
        (["https://h/?monkey=1&keyword=2"], ["https://h/?monkey=1&keyword=2"]),
        (["-H", "Authorization: Bearer abc def"], ["-H", "Authorization: *** def"]),
        (["-H", "Bearer", "abc"], ["-H", "Bearer", "***"]),
        (["--lr", "3e-4", "sk-learn-run-3"], ["--lr", "3e-4", "sk-learn-run-3"]),
        (["hf_" + "aB" * 17, "x=hf_" + "aB" * 17], ["***", "x=***"]),
        (["ghp_" + "a1" * 18, "github_pat_" + "a1_" * 9], ["***", "***"]),
        (["x" * 50 + "_password: abcd"], ["x" * 50 + "_password: ***"]),
        (["a-hf_" + "a" * 17, "xhf_" + "a" * 17], ["a-hf_" + "a" * 17, "xhf_" + "a" * 17]),
        (["xoxb-" + "1a" * 9, "AKIA" + "A1" * 8, "wandb_v1_" + "aB" * 9], ["***", "***", "***"]),
        (["sk-" + "a1" * 24, "sk-proj-" + "aB-_" * 20], ["***", "***"]),
    ],
)  # fmt: skip
def test_a_command_line_keeps_its_flags_and_loses_its_secrets(
    argv: list[str], shown: list[str]
) -> None:
    assert cut_argv(argv) == shown


@pytest.mark.parametrize(
    "flag",
    [
        "--key",
        "--wandb_key",
        "--token",
        "--tokens",
        "--private_key",
        "--auth",
        "--pass",
        "--pwd",
        "--secret",
        "--password",
        "--passphrase",
        "--credentials",
        "--apikey",
    ],
)
def test_the_value_of_a_flag_that_is_named_like_a_secret_is_cut(flag: str) -> None:
    assert cut_argv(["t.py", flag, "abc", f"{flag}=abc", flag.replace("_", "-"), "abc"]) == [
        *("t.py", flag, "***", f"{flag}=***", flag.replace("_", "-"), "***")
    ]


def test_a_hidden_key_is_cut_in_every_form_that_a_request_has() -> None:
    key = "k/y" * 13
    hide(key)
    login = base64.b64encode(f"api:{key}".encode()).decode()
    assert cut(f"a {key} b {login} c {key.replace('/', '%2F')}") == "a *** b *** c ***"


def test_a_key_that_is_no_utf8_is_hidden_too() -> None:
    hide("caf\udce9" * 9)
    assert cut("a " + "caf\udce9" * 9) == "a ***"


def test_no_short_word_is_hidden_and_none_is_none() -> None:
    hide("wrong")
    hide("")
    assert cut("the wrong key") == "the wrong key"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"error": "api_key: q1w2e3r4 is unknown"}', '{"error": "api_key: *** is unknown"}'),
        ('{"password": "q1w2e3r4"}', '{"password": "***"}'),
        ("authorization=Basic QWxhZGRpbg==, x", "authorization=***, x"),
        ("(see https://h/?token=abcd)", "(see https://h/?token=***)"),
        ("Bearer authentication failed", "Bearer authentication failed"),
        ("set WANDB_API_KEY, or run it", "set WANDB_API_KEY, or run it"),
        ("the password is wrong", "the password is wrong"),
        ("at 12:30 http://127.0.0.1:80/a?x=1", "at 12:30 http://127.0.0.1:80/a?x=1"),
    ],
)
def test_a_servers_words_keep_their_sense_and_lose_their_secrets(text: str, shown: str) -> None:
    assert cut(text) == shown


EACH_FORM = (
    ("AUTHORIZATION: q1w2", "AUTHORIZATION: ***"),
    ("Bearer q1w2e3r4", "Bearer ***"),
    ("PassPhrase=q1w2", "PassPhrase=***"),
    ("x://me:pw@host", "x://***@host"),
    ("?SIG=q1w2", "?SIG=***"),
    *(
        (secret, "***")
        for secret in (
            "hf_" + "a1" * 5, "ghs_" + "a1" * 5, "github_pat_" + "a1" * 5, "glpat-" + "a1" * 5,
            "sk-ant-" + "a_1-" * 3, "sk_live_" + "a1" * 7, "xoxe-" + "a1" * 5, "AKIA" + "A1" * 8,
            "AIza" + "a1" * 15, "wandb_v2_" + "a1" * 8,
            f"eyJ{'a1' * 5}.eyJ{'a1' * 5}.q1w2",
        )
    ),
)  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), EACH_FORM)
def test_a_secret_of_each_form_is_cut(text: str, shown: str) -> None:
    assert (cut(text), cut(f"in {text} it")) == (shown, f"in {shown} it")


def test_no_form_is_without_a_test() -> None:
    def has(form: str) -> bool:
        return any(re.search(form, text) for text, _ in EACH_FORM)

    assert [form for _, form in secrets._FORMS if not has(form)] == []


def test_a_config_is_masked_by_its_names_at_any_depth_and_its_texts_are_cut() -> None:
    config: dict[str, Any] = {
        "hub_token": "a", "apiKey": "b", "db": {"password": 1234, "user": "u"},
        "list": [{"auth": "c"}], "credentials": {"a": 1}, "url": "https://u:p@h/x",
    }  # fmt: skip
    assert cut_config(config) == {
        "hub_token": "***", "apiKey": "***", "db": {"password": "***", "user": "u"},
        "list": [{"auth": "***"}], "credentials": "***", "url": "https://***@h/x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("t.py --token x --lr 1", "t.py --token *** --lr 1"),
        ("t.py --api-key='x y' z", "t.py --api-key=*** z"),
        ('t.py --password "x', "t.py --password ***"),
        ("['t.py', '--token', 'x', '--lr']", "['t.py', '--token', ***, '--lr']"),
        (["t.py", "--token", "x", 1], ["t.py", "--token", "***", 1]),
        ([["--hf_token=x"], {"a": "b"}], [["--hf_token=***"], {"a": "b"}]),
        ("--max_tokens 5 --use_token --lr 1", "--max_tokens 5 --use_token --lr 1"),
        ("['--use_token', '--lr']", "['--use_token', '--lr']"),
        (["--sort_key", "loss"], ["--sort_key", "loss"]),
        ("a key -- a note", "a key -- a note"),
    ],
)
def test_a_command_line_within_a_config_loses_its_secrets(value: object, shown: object) -> None:
    assert cut_config({"command": value}) == {"command": shown}
    assert cut_config({"command": value}, ["command"]) == {"command": value}


def test_what_only_sounds_like_a_secret_stays_in_a_config() -> None:
    config = {
        "pad_token": "<pad>", "eos_token_id": 2, "max_tokens": 512, "tokenizer": "bpe",
        "token": None, "password": "", "use_auth": True, "sort_key": "loss", "keys": [1, 2],
        "secret": False, "tokens": ["a", "b"], "lr": 1e-3,
    }  # fmt: skip
    assert cut_config(config) == config


def test_allowed_names_and_patterns_stay_in_a_config() -> None:
    config = {"hf_token": "a", "deep": {"song_key": "C", "api_key": "b"}, "key": "D"}
    shown = {"hf_token": "a", "deep": {"song_key": "C", "api_key": "***"}, "key": "D"}
    assert cut_config(config, ["hf_token", "k*"]) == shown
    assert cut_config(config, ["*"]) == config


@pytest.mark.parametrize(
    "text", ["?" + "a" * 10**6, "a-" * 10**5, "://" * 10**5, "sk-" * 10**5, "password " * 10**5]
)
def test_no_text_costs_more_than_its_length(text: str) -> None:
    """By the characters that are looked at twice: a text of double length takes about double the
    time. Quadratic, these would take hours, and the suite's own limit ends them."""
    assert cut(text) == text


@pytest.mark.parametrize("text", ["--token " * 10**5, "--key '" * 10**5, " --" + "key-" * 10**5])
def test_no_text_of_flags_costs_more_than_its_length(text: str) -> None:
    assert len(cut_config({"command": text})["command"]) <= len(text)


def test_each_word_that_makes_a_name_a_secret_is_looked_for() -> None:
    for word in secrets._WORDS | secrets._LAST:
        name = f"my{word.title().replace(' ', '')}"
        assert cut_config({name: "x"}) == {name: "***"}
        assert secrets._MAY_BE_SECRET.search(word), word
