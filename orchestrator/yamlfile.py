"""YAML files in, checked models out: every fault at once, each with file, line, column and the nearest key."""

import difflib
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from kvm.errors import UserError

Location = tuple[int | str, ...]
Mark = tuple[int, int]  # line and column, both from 1
Fault = tuple[Location, str]


class Section(BaseModel):
    """A mapping in a file: strict types, no unknown keys, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


ModelT = TypeVar("ModelT", bound=Section)


def read(path: Path, model: type[ModelT], look: Callable[[ModelT], Iterable[Fault]] = lambda _: ()) -> ModelT:
    """Read `path` as `model`; `look` may add faults of its own. Raises one UserError that lists every fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    content, marks, faults = _parse(path, text)
    try:
        checked = model.model_validate(content)
        faults += [(_nearest_mark(at, marks), words) for at, words in look(checked)]
    except ValidationError as error:
        faults += [_explain(detail, marks, model) for detail in error.errors()]
    if faults:
        raise UserError("\n".join(f"{path}:{line}:{column}: {words}" for (line, column), words in sorted(faults)))
    return checked


def nearest(word: str, known: Sequence[str]) -> str:
    """Return '; did you mean ...?' if a known word is close, else nothing."""
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


def _explain(detail: ErrorDetails, marks: dict[Location, Mark], model: type[Section]) -> tuple[Mark, str]:
    at = tuple(detail["loc"])
    if detail["type"] == "extra_forbidden":
        words = f"unknown key {at[-1]!r}{nearest(str(at[-1]), _keys(model, at[:-1]))}"
    else:
        name = ".".join(str(part) for part in at) or "the file"
        words = f"{name}: {detail['msg'].lower()}, not {detail['input']!r}"
    return _nearest_mark(at, marks), words


def _keys(model: type[Section], at: Location) -> list[str]:
    """The keys that may stand at `at`."""
    for part in at:
        field = model.model_fields.get(str(part))
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), model)
    return list(model.model_fields)


def _nearest_mark(at: Location, marks: dict[Location, Mark]) -> Mark:
    return next((marks[at[:size]] for size in range(len(at), -1, -1) if at[:size] in marks), (1, 1))


def _is_word(tag: str, first: str) -> bool:
    """Is what begins with `first` a word in YAML 1.2, whatever PyYAML would make of it? A date may be none at all."""
    return tag == "tag:yaml.org,2002:timestamp" or (tag == "tag:yaml.org,2002:bool" and first not in "tfTF")


class _Loader(yaml.CSafeLoader):
    """SafeLoader (libyaml's, ten times as fast) that leaves `on`, `yes` and dates as words, as YAML 1.2 does."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own class attribute)
        first: [(tag, pattern) for tag, pattern in rules if not _is_word(tag, first)]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _refuse_aliases(text: str) -> None:
    """An alias may be recursive, or expand without end."""
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise _refused("aliases are not supported", event.start_mark)


def _refused(words: str, mark: Any) -> yaml.MarkedYAMLError:
    """`mark`: PyYAML's or libyaml's, which its types keep apart."""
    return yaml.MarkedYAMLError(problem=words, problem_mark=mark)


def _parse(path: Path, text: str) -> tuple[Any, dict[Location, Mark], list[tuple[Mark, str]]]:
    loader = _Loader(text)
    try:
        _refuse_aliases(text)
        node = loader.get_single_node()
        if node is None:
            return {}, {}, []
        marks: dict[Location, Mark] = {}
        faults: list[tuple[Mark, str]] = []
        _walk(node, (), marks, faults)
        return loader.construct_document(node), marks, faults
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UserError(f"{path}{place}: not YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line, column = _place(text, error.position)
        raise UserError(f"{path}:{line}:{column}: not YAML: {error.reason}") from error
    except RecursionError as error:
        raise UserError(f"{path}: not YAML that is taken: nested too deep") from error
    finally:
        loader.dispose()


def _place(text: str, position: int) -> Mark:
    """`position`: in bytes, which is how libyaml counts here and nowhere else."""
    before = text.encode()[:position].decode(errors="replace")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _walk(node: yaml.Node, at: Location, marks: dict[Location, Mark], faults: list[tuple[Mark, str]]) -> None:
    marks.setdefault(at, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _walk(child, (*at, index), marks, faults)
    elif isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, child in node.value:
            mark = (key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key must be a word", key.start_mark)
            if key.value in seen:
                faults.append((mark, f"key {key.value!r} stands twice"))
            seen.add(key.value)
            marks[(*at, key.value)] = mark
            _walk(child, (*at, key.value), marks, faults)
