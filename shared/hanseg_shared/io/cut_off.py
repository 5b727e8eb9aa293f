"""This process without network, other programs or other processes' memory.

Linux only, where the service runs. Three layers, each where it is allowed:

1. A seccomp filter makes the kernel refuse the calls in `_DENIED` to every thread of
   the process, native libraries included. It needs no privilege, and Docker's and
   Kubernetes' default profiles allow it. It is written for x86-64 and 64-bit ARM.
2. Where the kernel takes no filter, a network namespace of its own, without any
   interface. It needs a kernel that lets users, or this process, make namespaces;
   hardened containers do not.
3. Always, an audit hook that refuses Python's own sockets and subprocesses. Native
   code can go around it: where only this layer holds, a decoder that an image takes
   over can reach the network.

`cut_off` never fails: limits of memory and time hold without it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""linux/audit.h; a program's 32-bit calls come with another number."""

_DENIED = {
    "x86_64": {
        "socket": 41, "connect": 42, "sendto": 44, "sendmsg": 46, "bind": 49,
        "execve": 59, "ptrace": 101, "process_vm_readv": 310,
        "process_vm_writev": 311, "execveat": 322, "io_uring_setup": 425,
        "pidfd_getfd": 438,
    },
    "aarch64": {
        "ptrace": 117, "socket": 198, "bind": 200, "connect": 203, "sendto": 206,
        "sendmsg": 211, "execve": 221, "process_vm_readv": 270,
        "process_vm_writev": 271, "execveat": 281, "io_uring_setup": 425,
        "pidfd_getfd": 438,
    },
}  # fmt: skip
"""System calls by number (asm/unistd.h). io_uring could open sockets by itself."""

_X32_BIT = 0x40000000
"""x86-64's second set of numbers begins here; it is denied whole."""

_LOAD_WORD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_CALL_NUMBER_AT, _ARCH_AT = 0, 4
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000

_AUDITED = {
    "socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo",
    "socket.gethostbyname", "socket.sendto", "socket.sendmsg", "subprocess.Popen",
    "os.exec", "os.posix_spawn", "os.system",
}  # fmt: skip
"""Python's audit events (docs.python.org/3/library/audit_events.html)."""


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def cut_off() -> None:
    """Cut this process off, as far as the kernel allows; there is no way back."""
    if not filter_calls():
        leave_network()
    sys.addaudithook(_refuse_event)


def filter_calls() -> bool:
    """Have the kernel refuse the calls in `_DENIED`; return whether it will."""
    machine = platform.machine()
    if machine not in _DENIED:
        return False
    code = _filter(machine)
    instructions = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    return (
        libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        and libc.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0
    )


def _filter(machine: str) -> bytes:
    """Return the filter, in classic BPF (Linux, Documentation/networking/filter)."""
    numbers = sorted(_DENIED[machine].values())
    steps = [
        (_LOAD_WORD, 0, 0, _ARCH_AT),
        (_JUMP_IF_EQUAL, 0, len(numbers) + 3, _AUDIT_ARCH[machine]),
        (_LOAD_WORD, 0, 0, _CALL_NUMBER_AT),
        (_JUMP_IF_AT_LEAST, len(numbers) + 1, 0, _X32_BIT),
        *(
            (_JUMP_IF_EQUAL, len(numbers) - k, 0, number)
            for k, number in enumerate(numbers)
        ),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def leave_network() -> bool:
    """Move this process to a network of its own; return whether it has one now."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK) == 0:
        return True
    # root would lose its right to read others' files with its user namespace
    return os.geteuid() != 0 and libc.unshare(_NEW_USER | _NEW_NETWORK) == 0


def _refuse_event(event: str, _: object) -> None:
    if event in _AUDITED:
        raise PermissionError(errno.EPERM, f"{event} is not allowed here")
