"""What a tool said, without what differs from build to build: paths, addresses, line numbers in words. Pure."""

import posixpath
import re

from orchestrator.build.sandbox import OBJ, SRC

_CACHED = "(?:trees|objects)/[0-9a-f]{40}"  # in the cache: the places of a build without a sandbox
_ROOT = re.compile(rf"(?:{SRC}|{OBJ}|(?:.*/)?{_CACHED})/")
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "`": "'"})
_WITHIN = "[^\\s:'\"(\u2018`]"  # of a path: only whole words are tried, lest a hostile line take its length squared
_IN_TREE = re.compile(rf"(?:(?<![\w.])(?:{SRC}|{OBJ})|(?<!{_WITHIN})/(?:{_WITHIN}*?/)?{_CACHED})/(?:\./)?")
_ADDRESS = re.compile(r"\+?0x[0-9a-fA-F]+(?:/0x[0-9a-fA-F]+)?")
_PLACE = re.compile(r"(\.[chS]):\d+(?::\d+)?", re.ASCII)
_LINE = re.compile(r"\b(line|lines) \d+", re.ASCII)
_COUNTER = re.compile(r"\b(__compiletime_assert_|__UNIQUE_ID_\w*?)\d+\b", re.ASCII)  # made of __COUNTER__
_VOLATILE = re.compile(
    r"\S*\w\(\)\S*|\b(?:for|symbol) [A-Z0-9_]+\b|'[^']*'|\"[^\"]*\"|\([^)]*\)|\S*(?:[/_<>\[\]*&\d]|\.\w)\S*"
)
_WORDS = re.compile(r"[a-z]+(?:-[a-z]+)*")
_SLUG_WORDS = 6
_REWRITES = ((_ADDRESS, ""), (_PLACE, r"\1"), (_LINE, r"\1 *"), (_COUNTER, r"\1*"))

# The rules of kernel-doc by the words it uses, Perl and Python versions alike.
_KERNEL_DOC: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(expression, re.IGNORECASE))
    for kind, expression in (
        ("not-described", r"(?:function parameter|struct member|enum value|parameter or member) .* not described"),
        ("excess", r"excess .* description|excess .* not described"),
        ("no-return", r"no description found for return value"),
        ("no-short-description", r"missing initial short description"),
        ("not-kernel-doc", r"this comment starts with '/\*\*', but isn't a kernel-doc"),
        ("wrong-name", r"expecting prototype for .*prototype was for|wrong kernel-doc identifier"),
        ("cannot-parse", r"cannot (?:parse|understand) "),
        ("bad-line", r"bad line:|incorrect use of kernel-doc format|duplicate section name|unknown tag"),
    )
)


def path(raw: str) -> str:
    """Return `raw` as a path in the tree: without the places of sources and objects, `./` and `../`."""
    if not raw or raw.startswith("<"):
        return raw
    name = posixpath.normpath(raw)
    if root := _ROOT.match(name):
        name = name[root.end() :]
    while name.startswith("../"):
        name = name[3:]
    return name


def in_tree(text: str) -> str:
    """Return `text` with its paths of sources and objects as paths in the tree."""
    return _IN_TREE.sub("", text)


def plain(message: str) -> str:
    """Return a message with plain quotes, no addresses, no build paths and no line numbers of other places."""
    message = in_tree(message)
    for expression, instead in _REWRITES:
        message = expression.sub(instead, message)
    return " ".join(message.translate(_QUOTES).split())


def slug(message: str) -> str:
    """Name a rule by its first words, without the names and numbers of this case: `symbol-was-not-declared`."""
    sentence = plain(message).split(". ", 1)[0]
    words = _WORDS.findall(_VOLATILE.sub(" ", sentence).lower())
    return "-".join(words[:_SLUG_WORDS]) or "other"


def kernel_doc_kind(message: str) -> str:
    """Name kernel-doc's rule, or "" where its words are not known."""
    return next((kind for kind, expression in _KERNEL_DOC if expression.search(message)), "")
