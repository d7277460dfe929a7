"""Names: the module and the tables agree, and each alone is sufficient."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from auditsvc.errors import KernelError
from auditsvc.host import system_module
from auditsvc.host.system_module import audit_module
from auditsvc.tables import names, newer, record_types, syscalls

ROOT = Path(__file__).parents[2]
X86_64 = 0xC000003E
I386 = 0x40000003
AARCH64 = 0xC00000B7
CACHED = (
    names._audit,
    names._syscalls,
    names._syscall_numbers,
    names.record_types,
    names._record_type_numbers,
    names.errnos,
    names._errno_numbers,
)


def _forget() -> None:
    for function in CACHED:
        function.cache_clear()


# What 4.0.2 (Debian 13) wraps of the name tables; 3.0.9 has more.
OF_4 = (
    "audit_detect_machine",
    "audit_elf_to_machine",
    "audit_machine_to_name",
    "audit_msg_type_to_name",
    "audit_syscall_to_name",
)


def like_libaudit_4():
    """Give the installed module without what libaudit 4 has no longer."""
    audit = pytest.importorskip("audit")
    known = {name: getattr(audit, name) for name in OF_4 if hasattr(audit, name)}
    return SimpleNamespace(__file__=audit.__file__, **known)


@pytest.fixture(params=["module", "module of libaudit 4", "tables"])
def source(request, monkeypatch):
    """Run with the module `audit`, with less of it, then with it hidden."""
    _forget()
    if request.param == "tables":
        monkeypatch.setitem(sys.modules, "audit", None)
    elif request.param == "module":
        pytest.importorskip("audit")
    else:
        monkeypatch.setitem(system_module._loaded, "audit", like_libaudit_4())
    yield request.param
    _forget()


@pytest.mark.usefixtures("source")
class TestNames:
    """What must hold with and without the module."""

    def test_arch(self):
        """Machines have their AUDIT_ARCH_* numbers; an unknown one shows as the kernel's hex."""
        assert names.arch_name(X86_64) == "x86_64"
        assert names.arch_name(0x40000028) == "arm"
        assert names.arch_name(0xDEAD) == "dead"
        assert names.arch_number("x86_64") == X86_64
        assert names.arch_number("i686") == I386
        assert names.arch_number("c000003e") == X86_64
        assert names.arch_number("vax-11") is None
        for arch in names.arches():
            assert names.arch_number(names.arch_name(arch)) == arch

    def test_syscall(self):
        """Numbers differ by machine; x32 sets a bit; newer calls are known on all."""
        assert names.syscall_name(X86_64, 59) == "execve"
        assert names.syscall_name(I386, 11) == "execve"
        assert names.syscall_name(AARCH64, 221) == "execve"
        assert names.syscall_name(X86_64, 39 | names.X32_BIT) == "getpid"
        assert names.syscall_name(X86_64, 520 | names.X32_BIT) == "execve"
        assert names.syscall_name(X86_64, 5000) is None
        assert names.syscall_name(0xDEAD, 1) is None
        assert names.syscall_number(X86_64, "pread64") == names.syscall_number(X86_64, "pread")
        assert names.syscall_number(X86_64, "nonsense") is None
        assert len(names.arches()) >= 10
        for arch in names.arches():
            assert names.syscall_name(arch, 451) == "cachestat"
            assert names.syscall_name(arch, 467) == "open_tree_attr"
            assert names.syscall_name(arch, 471) == "rseq_slice_yield"

    def test_generic_machines(self):
        """riscv64 and loongarch64 have aarch64's table, less what they never had."""
        riscv = names.arch_number("riscv64")
        assert names.syscall_name(riscv, 221) == "execve"
        assert names.syscall_name(riscv, 259) == "riscv_flush_icache"
        assert names.syscall_name(riscv, 38) is None
        assert names.syscall_name(AARCH64, 38) == "renameat"

    def test_names_give_their_numbers_back(self):
        """Every syscall, record type and errno comes back from its own name."""
        for arch in names.arches():
            for number, name in names.syscalls(arch).items():
                assert names.syscall_number(arch, name) == number
        for number, name in names.record_types().items():
            assert names.record_type_number(name) == number
        for number, name in names.errnos().items():
            assert names.errno_number(name) == number

    def test_record_type(self):
        """Known types have names, newer ones too, the rest is auditd's UNKNOWN[n]."""
        assert names.record_type_name(1300) == "SYSCALL"
        assert names.record_type_name(1423) == "LANDLOCK_ACCESS"
        assert names.record_type_name(1499) == "UNKNOWN[1499]"
        assert names.record_type_number("UNKNOWN[1499]") == 1499
        assert names.record_type_number("UNKNOWN[x]") is None
        assert names.record_type_number("NONSENSE") is None

    def test_errno(self):
        """Errnos have names both ways; a second name leads to the same number."""
        assert names.errno_name(2) == "ENOENT"
        assert names.errno_name(9999) is None
        assert names.errno_number("EWOULDBLOCK") == names.errno_number("EAGAIN") == 11
        assert names.errno_number("ENOTSUPP") == 524

    def test_uring_op(self):
        """io_uring's operations have names both ways."""
        assert names.uring_op_name(18) == "openat"
        assert names.uring_op_number("openat") == 18
        assert names.uring_op_name(62) == "pipe"
        assert names.uring_op_number("uring_cmd128") == 64
        assert names.uring_op_name(500) is None
        assert names.uring_op_number("nonsense") is None


def test_tables_agree_with_the_module():
    """Nothing in the tables or in the newer facts contradicts the installed module."""
    audit = pytest.importorskip("audit")
    module = names.module_syscalls(audit)
    for arch, table in syscalls.SYSCALLS.items():
        every = newer.SYSCALLS_EVERYWHERE | newer.SYSCALLS.get(arch, {}) | table
        for number, name in every.items():
            assert module[arch].get(number, name) == name
    found = names.module_record_types(audit)
    for number, name in (newer.RECORD_TYPES | record_types.RECORD_TYPES).items():
        assert found.get(number, name) == name


def test_errnos_are_those_of_libaudit_3():
    """Our table has what 3.x answers for every number, and the numbers for its names."""
    audit = pytest.importorskip("audit")
    if not hasattr(audit, "audit_errno_to_name"):
        pytest.skip("libaudit 4 has no errnos")
    for number in range(1, 1000):
        assert names.errno_name(number) == (
            audit.audit_errno_to_name(number) or newer.ERRNOS.get(number)
        )
    for name in names.errnos().values():
        assert names.errno_number(name) in (audit.audit_name_to_errno(name), 524, 530)


def test_machines_are_those_of_libaudit_3():
    """A machine's AUDIT_ARCH_* leads to the calls that its name leads to in 3.x."""
    audit = pytest.importorskip("audit")
    if not hasattr(audit, "audit_name_to_machine"):
        pytest.skip("libaudit 4 has no machine by name")
    found = names.module_syscalls(audit)
    # libaudit's table `armeb` is that of the little-endian ARM, 40000028.
    named = {**newer.ARCHES, names.arch_number("arm"): "armeb"}
    del named[names.arch_number("armeb")]
    for arch, name in named.items():
        machine = audit.audit_name_to_machine(name)
        asked = {nr: audit.audit_syscall_to_name(nr, machine) for nr in range(1024)}
        calls = {nr: call for nr, call in asked.items() if call} if machine >= 0 else {}
        assert found.get(arch, {}) == calls, name


def test_tables_are_what_their_generator_writes(tmp_path):
    """With the version of the module that they name, the generator writes the same files."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}", "python3-audit"]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    if found != syscalls.SOURCE:
        pytest.skip(f"the tables are from {syscalls.SOURCE}, here is {found or 'none'}")
    subprocess.run([sys.executable, ROOT / "tools/generate-tables", tmp_path], check=True)
    for path in tmp_path.iterdir():
        assert path.read_text() == (ROOT / "auditsvc/tables" / path.name).read_text()
    assert len(list(tmp_path.iterdir())) == 3


def test_kernel_headers_agree():
    """The syscalls of this machine's kernel headers have the numbers that we say."""
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers of x86_64")
    for line in header.read_text().splitlines():
        match line.split():
            case ["#define", name, number] if name.startswith("__NR_"):
                assert names.syscall_number(X86_64, name.removeprefix("__NR_")) == int(number)


def test_missing_module_names_the_package(monkeypatch):
    """Whatever touches the kernel says which package is missing."""
    monkeypatch.setitem(sys.modules, "audit", None)
    with pytest.raises(KernelError, match="python3-audit"):
        audit_module()
