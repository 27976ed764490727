"""Texts, command lines and configs -> the same with `***` for their secrets: the one place where
secrets are known and cut.

What looks like a secret is told by names and prefixes, so an unusual one is not recognised. Those
that this process itself has in hand (`hide`) are cut out in whichever form they turn up.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote

HIDDEN: Final = "***"
SHORTEST: Final = 8  # characters of a secret that is hidden; shorter ones are in ordinary words

# Secret wherever they stand in a name: --wandb_api_key_2, db.password
_WORDS: Final = frozenset(
    {
        *("password", "passwd", "passphrase", "pwd", "secret", "secrets", "credential"),
        *("credentials", "apikey", "accesskey", "secretkey", "privatekey", "wandbkey"),
        *("accesstoken", "authtoken", "hftoken", "hubtoken"),
        *("api key", "access key", "private key", "access token", "auth token", "hub token"),
    }
)
# Secret at the end of a name, but behind those below: --key, --hf_tokens; not --max_tokens
_LAST: Final = frozenset({"key", "token", "tokens", "pass", "auth", "authorization", "bearer"})
_HARMLESS: Final = frozenset(
    {
        *("bos", "eos", "pad", "unk", "mask", "sep", "cls", "start", "end", "stop", "special"),
        *("blank", "prefix", "suffix", "word", "image", "audio", "video", "text", "max", "min"),
        *("num", "n", "new", "per", "prev", "next", "total", "count", "vocab", "suppress"),
        *("public", "primary", "foreign", "sort", "group", "cache", "metric", "monitor", "label"),
        *("column", "input", "output", "feature", "song", "musical", "first", "forward", "low"),
        *("high", "band", "one", "two", "multi", "single"),
    }
)
# In each name that has one of these: of 50,000 keys most are looked at no further
_MAY_BE_SECRET: Final = re.compile(r"(?i)key|token|pass|pwd|auth|secret|credential|bearer")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN: Final = re.compile(r"[^A-Za-z]+")
_NAME: Final = re.compile(r"[-+~\w.\[\]/]+")  # of a flag, a variable, an override (+trainer.lr=…)
# A flag in a text, where a command line or a list of its words may be; group 1 is what stays,
# group 2 its name. A value with spaces is in quotation marks. Bounded, so that no text takes long
_FLAG: Final = re.compile(
    r"((?<![^\s\"'])(--[A-Za-z][\w.-]{0,100})(?:=|[\"']?,?\s{1,4}(?![\"']?--)))"
    r"(?:\"[^\"]{1,1000}\"|'[^']{1,1000}'|[\"']?[^\s\"']+)"
)

# Each with the words of which a text has one in either case, or has nothing of the kind: of the
# 100,000 texts of a long `status --json` nearly all are looked at no further. The part in front
# that stays is group 1. Bounded, so that no text takes long, and those of one case begin with
# letters rather than with what may stand before them: `re` looks for those at once, which of a
# megabyte takes a twentieth of the time
_FORMS: Final = (
    (
        ("authorization",),
        r"(?i)(\bauthorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?)(?:[a-z]+\s+)?[^\s\"',;]+",
    ),
    (
        ("bearer",),
        r"(?i)(\bbearer\s+)(?:(?=\S{0,60}\d)[\w.~+/=-]{6,}|[\w.~+/=-]{20,})",
    ),
    (  # password=…, "api_key": "…"
        ("passw", "passphrase", "secret", "key", "token"),
        r"(?i)((?:passw(?:or)?d|passphrase|secret|(?:api|access|private)[-_]?key"
        r"|(?:access|auth|refresh|hub|hf)[-_]?token)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)"
        r"[^\s\"',;&{}]{4,}",
    ),
    (("@",), r"(://)[^\s/?#\"'<>]{1,500}(?=@)"),  # https://user:password@host
    (  # ?access_token=…, &X-Amz-Signature=…
        ("=",),
        r"(?i)([?&;#](?:[\w.-]{0,40}?[-_.])?(?:\w{0,20}token|key|\w{0,10}apikey|sig|signature|pwd"
        r"|secret|passw(?:or)?d|pass|auth|credentials?|session|jwt)=)[^&\s#\"'<>)]+",
    ),
    # By their prefixes: Hugging Face, GitHub, GitLab, OpenAI and the like, Slack, AWS, Google,
    # wandb, JSON web tokens
    (("hf_",), r"hf_()(?<![\w-]hf_)[A-Za-z0-9]{10,}"),
    (("gh",), r"gh[opsur]_()(?<![\w-]gh._)[A-Za-z0-9]{10,}"),
    (("github_pat_",), r"github_pat_()(?<![\w-]github_pat_)\w{10,}"),
    (("glpat-",), r"glpat-()(?<![\w-]glpat-)[\w-]{10,}"),
    (("sk-",), r"sk-()(?<![\w-]sk-)(?:proj|ant|svcacct|admin|or)-[\w-]{12,}"),
    (
        ("sk-", "sk_"),
        r"sk[-_]()(?<![\w-]sk.)(?:[A-Za-z0-9]{1,12}[-_]){0,3}[A-Za-z0-9]{14,}[\w-]*",
    ),
    (("xox",), r"xox[abeoprs]-()(?<![\w-]xox..)[\w-]{10,}"),
    (("akia",), r"AKIA()(?<![\w-]AKIA)[0-9A-Z]{16}"),
    (("aiza",), r"AIza()(?<![\w-]AIza)[\w-]{30,}"),
    (("wandb_v",), r"wandb_v\d_()(?<![\w-]wandb_v\d_)\w{16,}"),
    (("eyj",), r"eyJ()(?<![\w-]eyJ)[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+"),
)

_SHORTEST_FORM: Final = 6  # characters, of ://a@b

_hidden: tuple[str, ...] = ()


def hide(secret: str) -> None:
    """Have `cut` take this out from now on, as it is and as requests carry it."""
    global _hidden
    if len(secret) < SHORTEST:
        return
    data = secret.encode("utf-8", "surrogateescape")
    login = base64.b64encode(b"api:" + data).decode()
    # A new tuple rather than a set that grows: another thread may be cutting. The longest first,
    # since one form may be part of another
    forms = {*_hidden, secret, quote(data, safe=""), login}
    _hidden = tuple(sorted(forms, key=len, reverse=True))


def cut(text: str) -> str:
    """The text without hidden secrets, logins in URLs, authorization headers, values of URL queries
    and assignments that are named like secrets, and tokens that are known by their prefix."""
    for secret in _hidden:
        text = text.replace(secret, HIDDEN)
    if len(text) < _SHORTEST_FORM:  # a table's numbers, mostly
        return text
    lower = text.casefold()
    for words, form in _FORMS:
        for word in words:  # a generator takes three times as long
            if word in lower:
                text = _compiled(form).sub(rf"\g<1>{HIDDEN}", text)
                break
    return text


@cache
def _compiled(form: str) -> re.Pattern[str]:
    """On use: to compile all of them takes 2 ms of each command's start."""
    return re.compile(form)


def cut_argv(argv: Sequence[str]) -> list[str]:
    """The command line, each word cut, with `***` for the value of each flag, variable or override
    that is named like a secret."""
    shown: list[str] = []
    hide_next = False
    for word in argv:
        name, equals, _ = word.partition("=")
        named = bool(_NAME.fullmatch(name)) and is_secret(name)
        secret = named and (name.startswith("-") or bool(equals))
        # A value may begin with a hyphen; another flag has two, or is a hyphen and a letter
        if hide_next and not word.startswith("--") and not re.fullmatch(r"-[A-Za-z]", word):
            shown.append(HIDDEN)
            hide_next = False
            continue
        shown.append(f"{name}={HIDDEN}" if secret and equals else cut(word))
        hide_next = (secret and not equals) or word.lower().endswith("bearer")
    return shown


def cut_config(config: Mapping[str, Any], allowed: Collection[str] = ()) -> dict[str, Any]:
    """The config with `***` for what is named like a secret and for each text's secrets, at any
    depth, command lines in texts and lists included. allowed: names (or patterns such as `*_key`)
    whose values stay as they are."""
    return {key: _cut_value(key, value, allowed) for key, value in config.items()}


def is_secret(name: str) -> bool:
    """Whether what is called so is a secret: --api-key, hfToken, WANDB_API_KEY, db.password."""
    return _is_strong(words := _words(name)) or _is_weak(words)


def _cut_value(name: str, value: Any, allowed: Collection[str]) -> Any:
    words = _words(str(name)) if _MAY_BE_SECRET.search(str(name)) else []
    if allowed and any(fnmatchcase(str(name), pattern) for pattern in allowed):
        return value
    # A count of tokens is no secret, and neither is a password's absence
    if _is_strong(words) and value not in (None, "", True, False):
        return HIDDEN
    if isinstance(value, str):
        return HIDDEN if value and _is_weak(words) else _cut_flags(cut(value))
    if isinstance(value, Mapping):
        return cut_config(value, allowed)
    if isinstance(value, (list, tuple)):
        return _cut_list(value, allowed)
    return value


def _cut_list(items: Sequence[Any], allowed: Collection[str]) -> list[Any]:
    if any(isinstance(item, str) and item.startswith("--") for item in items):
        words = iter(cut_argv([item for item in items if isinstance(item, str)]))
        items = [next(words) if isinstance(item, str) else item for item in items]
    return [_cut_value("", item, allowed) for item in items]


def _cut_flags(text: str) -> str:
    """The text, a command line perhaps, with `***` for the values of its flags that are named like
    secrets."""
    if "--" not in text or not _MAY_BE_SECRET.search(text):
        return text
    return _FLAG.sub(lambda found: f"{found[1]}{HIDDEN}" if is_secret(found[2]) else found[0], text)


def _words(name: str) -> list[str]:
    return [word for word in _BETWEEN.split(_CAMEL.sub("_", name).lower()) if word]


def _is_strong(words: Sequence[str]) -> bool:
    pairs = (f"{one} {two}" for one, two in pairwise(words))
    return not _WORDS.isdisjoint(words) or not _WORDS.isdisjoint(pairs)


def _is_weak(words: Sequence[str]) -> bool:
    return bool(words) and words[-1] in _LAST and _HARMLESS.isdisjoint(words[:-1])
