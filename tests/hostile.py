"""Diffs that no series should hold: the text, the line at fault, and words of the refusal."""

_NEW = b"diff --git %s %s\nnew file mode 100644\nindex 0000000..1234567\n--- /dev/null\n+++ %s\n@@ -0,0 +1 @@\n+x\n"


def _new(path: bytes) -> bytes:
    return _NEW % (b"a/" + path, b"b/" + path, b"b/" + path)


_BODY = b"@@ -1 +1 @@\n-a\n+b\n"
_LINK = b"diff --git a/l b/l\nnew file mode 120000\nindex 0000000..1234567\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n"

HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "traversal": (_new(b"../../../tmp/evil"), 1, "leaves the tree"),
    "traversal in the middle": (b"--- a/mm/../../x\n+++ b/mm/../../x\n" + _BODY, 1, "leaves the tree"),
    "traversal on one side": (b"--- a/mm/x.c\n+++ b/../x.c\n" + _BODY, 2, "leaves the tree"),
    "absolute": (b"--- /etc/passwd\n+++ /etc/passwd\n" + _BODY, 1, "absolute path"),
    "backslash": (b"--- a/..\\x\n+++ b/..\\x\n" + _BODY, 1, "backslash"),
    "hook": (_new(b".git/hooks/post-checkout"), 1, "file of git itself"),
    "hook, quoted": (b'diff --git "a/\\056GIT/x" "b/\\056GIT/x"\nnew file mode 100755\n', 1, "file of git itself"),
    "submodules": (_new(b".gitmodules"), 1, "git would fetch"),
    "symlink, absolute": (_LINK + b"+/etc/passwd\n\\ No newline at end of file\n", 7, "symlink to '/etc/passwd'"),
    "symlink, up": (_LINK + b"+../x\n\\ No newline at end of file\n", 7, "symlink to '../x'"),
    "symlink, empty": (_LINK + b"+\n\\ No newline at end of file\n", 7, "symlink to ''"),
    "symlink, long": (_LINK + b"+" + b"d/" * 3000 + b"x\n", 7, "longer than 1,024 bytes"),
    "symlink, long name": (_LINK + b"+" + b"x" * 256 + b"\n", 7, "longer than 255 bytes"),
    "long name": (_new(b"x" * 256), 1, "longer than 255 bytes"),
    "long name in UTF-8": (_new("ü".encode() * 128), 1, "longer than 255 bytes"),
    "long path": (_new(b"d/" * 511 + b"x"), 1, "longer than 1,024 bytes"),
    "long path of blanks": (
        b"diff --git a/%s b/%s\nnew file mode 100644\n" % (b"d /" * 3000, b"d /" * 3000),
        1,
        "longer",
    ),
    "gitlink": (_new(b"sub").replace(b"100644", b"160000"), 2, "gitlink"),
    "odd mode": (_new(b"x").replace(b"100644", b"104755"), 2, "file mode 104755"),
    "ed": (b"--- a/x\n+++ b/x\n1d\n!touch /tmp/owned\n.\n", 3, "ed script"),
    "ed, diff -e": (b"--- x\ndiff -e a/x b/x\n1,2c\nr !id\n.\nw\n", 3, "ed script"),
    "normal diff": (b"--- x\ndiff -r a/x b/x\n1c1\n< a\n---\n> b\n", 3, "not unified"),
    "binary": (
        b"diff --git a/x b/x\nnew file mode 100644\nindex 0000000..1234567\nGIT binary patch\nliteral 3\nKcmZQz\n\n",
        4,
        "binary file",
    ),
    "binary without content": (
        b"diff --git a/x b/x\nindex 1234567..89abcde 100644\nBinary files a/x and b/x differ\n",
        3,
        "without its content",
    ),
    "nul in a name": (b"--- a/x\0y\n+++ b/x\0y\n" + _BODY, 1, "control character"),
    "nul in a quoted name": (b'diff --git "a/x\\000" "b/x\\000"\nnew file mode 100644\n', 1, "control character"),
    "escape in a name": (_new(b"\x1b[2Jx"), 1, "control character"),
    "right to left in a name": (_new("a\u202ec.x".encode()), 1, "control character"),
    "name in latin-1": (_new(b"\xe9"), 1, "not UTF-8"),
    "rename out": (b"diff --git a/x b/x\nrename from x\nrename to ../y\n", 3, "leaves the tree"),
    "rename in": (b"diff --git a/x b/x\nrename from /etc/shadow\nrename to x\n", 2, "absolute path"),
    "copy in": (b"diff --git a/x b/x\ncopy from ../secret\ncopy to x\n", 2, "leaves the tree"),
    "copy out, old words": (b"diff --git a/x b/x\nrename old x\nrename new .git/x\n", 3, "file of git itself"),
    "hunk header": (b"--- a/x\n+++ b/x\n@@ -1,99999999999999999999 +1 @@\n-a\n+b\n", 3, "hunk header"),
    "hunk header, indented": (b"--- a/x\n+++ b/x\n" + _BODY + b" @@ -9 +9 @@\n-a\n+b\n", 6, "hunk header"),
    "more than its hunk counts": (b"--- a/x\n+++ b/x\n" + _BODY + b" c\n+d\n e\n", 7, "does not count"),
    "less taken away than is written": (b"--- a/x\n+++ b/x\n" + _BODY + b"-c\n", 6, "does not count"),
    "merge": (b"diff --cc x\nindex 1,2..3\n--- a/x\n+++ b/x\n@@@ -1,1 -1,1 +1,2 @@@\n +a\n+ b\n", 1, "a merge"),
    "merge below a diff": (_new(b"y") + b"diff --cc x\n--- a/x\n+++ b/x\n@@@ -1 -1 +1 @@@\n", 8, "a merge"),
    "context diff below a diff": (_new(b"y") + b"*** a/x\n--- b/x\n*************** f(void)\n", 10, "not unified"),
}
