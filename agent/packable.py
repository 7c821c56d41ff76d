"""Which files of a repository a model may be shown unasked: text that people wrote, no secret.

By name first, so that a secret is not even opened, then by content. It decides nothing about room.
"""

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from tools.file_kinds import (
    FOREIGN_FOLDERS,
    GENERATED,
    MAX_LINE_CHARACTERS,
    is_test,
    says_generated,
)
from tools.languages import language_of
from tools.textfile import NotText, TextFile

MAX_FILE_BYTES = 256 * 1024
"""A larger file is data, whatever its name says."""

SECRETS = (
    *(".env", ".env.*", "*.env", ".envrc", ".netrc", ".npmrc", ".pypirc", ".pgpass", ".htpasswd"),
    *(
        "*.pem",
        "*.key",
        "*.p12",
        "*.pfx",
        "*.p8",
        "*.jks",
        "*.keystore",
        "*.kdbx",
        "*.ppk",
        "*.gpg",
    ),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.ovpn", ".git-credentials", ".dockercfg"),
    *("credentials", "credentials.*", "secrets", "secrets.*", "secret.*", "*.secret", "*.secrets"),
    *("*.tfstate", "*.tfstate.*", "*.tfvars", "service[-_]account*.json", "client_secret*.json"),
    *("kubeconfig", "*.kubeconfig", "master.key", ".s3cfg", ".boto", "*.asc"),
)
NOT_SECRETS = ("*.example", "*.sample", "*.template", "*.dist", "*.md", "*.rst")
"""Models of such files, which people commit on purpose, and words about them."""
SECRET_FOLDERS = frozenset({".ssh", ".aws", ".gnupg", ".azure", ".kube", ".docker"})
LOCKS = (
    *("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock*"),
    *("cargo.lock", "poetry.lock", "uv.lock", "pdm.lock", "pipfile.lock", "composer.lock"),
    *("gemfile.lock", "go.sum", "go.work.sum", "flake.lock", "mix.lock", "podfile.lock"),
    *("packages.lock.json", "gradle.lockfile", "deno.lock", "pubspec.lock", "package.resolved"),
)

_SECRET_TEXTS = tuple(
    # Each begins with letters of its own, which a search finds fast.
    re.compile(pattern)
    for pattern in (
        *(r"-----BEGIN [A-Z ]*PRIVATE KEY", r"AKIA[0-9A-Z]{16}\b", r"ASIA[0-9A-Z]{16}\b"),
        *(r"ghp_\w{36}", r"gho_\w{36}", r"ghu_\w{36}", r"ghs_\w{36}", r"ghr_\w{36}"),
        *(
            r"github_pat_\w{22}",
            r"glpat-[\w-]{20}",
            r"xox[abprs]-\d[\w-]{10}",
            r"hf_[A-Za-z]{34}\b",
        ),
        *(r"sk-(?:ant-|proj-)?\w{32}", r"AIza[\w-]{35}", r"npm_\w{36}", r"pypi-AgE[\w-]{50}"),
    )
)
ROOT_WORDS = (
    *("readme*", "contributing*", "agents.md", "pyproject.toml", "setup.cfg", "package.json"),
    *("cargo.toml", "go.mod", "makefile", "pom.xml", "build.gradle*", "gemfile", "tsconfig.json"),
)


def may_be_opened(path: str) -> bool:
    """Say by its name whether a file may be looked into: no secret, no lock file, nothing made."""
    *folders, name = path.lower().split("/")
    if not path.isprintable() or {*folders} & (SECRET_FOLDERS | FOREIGN_FOLDERS):
        return False
    if _is_one_of(name, SECRETS) and not _is_one_of(name, NOT_SECRETS):
        # `secrets.py` is code; its content is looked at all the same.
        return language_of(name) is not None and not name.startswith(".env")
    return not _is_one_of(name, LOCKS) and not _is_one_of(name, GENERATED)


def text_of(data: bytes) -> str | None:
    """Return the text of a file, with `\\n` alone; None for one that is not to be shown."""
    try:
        file = TextFile.decode(data)
        text = file.text if file.is_known else ""
    except NotText:
        return None
    if not text.strip() or any(pattern.search(text) for pattern in _SECRET_TEXTS):
        return None
    if says_generated(text):
        return None
    if max(map(len, text.split("\n"))) > MAX_LINE_CHARACTERS:
        return None
    return text if text.endswith("\n") else f"{text}\n"


def rank(path: str) -> int:
    """Return how soon a file is packed where there is no room for all; 0 is first."""
    where = PurePosixPath(path.lower())
    if len(where.parts) == 1 and _is_one_of(where.name, ROOT_WORDS):
        return 0
    if language_of(path) is None:
        return 2
    return 1 if is_test(path) else 0


def _is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
