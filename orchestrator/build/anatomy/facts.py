"""What is known of one built kernel, as it is kept beside its image. No I/O."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Export:
    """One exported symbol: EXPORT_SYMBOL or EXPORT_SYMBOL_GPL, who exports it; `crc` and `namespace` may be empty."""

    kind: str
    module: str
    crc: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        namespace = f" in namespace {self.namespace}" if self.namespace else ""
        crc = f", CRC {self.crc}" if self.crc else ""
        return f"{self.kind} by {self.module}{namespace}{crc}"


@dataclass(frozen=True)
class ObjectFacts:
    """One object file: bytes and a hash for each part of it that reaches the image, bytes for each function."""

    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Anatomy:
    """One built kernel: vmlinux' sections in bytes, every object by its path in the build directory, exports."""

    sections: dict[str, int] = field(default_factory=dict)
    objects: dict[str, ObjectFacts] = field(default_factory=dict)
    exports: dict[str, Export] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Closeup:
    """One object compiled again with debug info: stack frames in bytes, code by hash, layouts as pahole prints them."""

    frames: dict[str, int] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    structs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Closeups:
    """The objects that were compiled again; what touched sources export, and which types they declare."""

    objects: dict[str, Closeup] = field(default_factory=dict)
    exports: dict[str, Export] = field(default_factory=dict)
    declared: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class UapiHeader:
    """One header as user space gets it: what compilers say of it alone, its macros, enumerators and layouts.

    One that does not compile alone has no enumerators and layouts that anybody could see.
    """

    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    macros: dict[str, str] = field(default_factory=dict)
    enumerators: dict[str, str] = field(default_factory=dict)
    structs: dict[str, str] = field(default_factory=dict)
    compiled: bool = True


@dataclass(frozen=True)
class Uapi:
    """The touched uapi headers of one side, by the name that user space includes; `seen` unless probing failed."""

    headers: dict[str, UapiHeader] = field(default_factory=dict)
    seen: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dissection:
    """All that was found out about one kernel."""

    anatomy: Anatomy
    closeups: Closeups = Closeups()
    uapi: Uapi = Uapi()
