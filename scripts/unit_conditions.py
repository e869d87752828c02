"""The conditions that a unit's directives set for its process, without systemd: for scripts/check-units.

User and capabilities, a file system that is read only but for the service's own directories, /proc with no other
user's processes, no network, the filter of system calls and of address families, no memory both written and executed.
As root all of them are set; others run with the filters only.
"""

import ctypes
import os
import shutil
import socket
import subprocess

LIBC = ctypes.CDLL(None, use_errno=True)

# Numbers of the kernel's interface: sched.h, mount.h, prctl.h, seccomp.h.
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
AT_RECURSIVE, MOUNT_ATTR_RDONLY = 0x8000, 0x1
SYS_MOUNT_SETATTR = 442
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_CAPBSET_READ = 24, 38, 65, 23
SCMP_ACT_ALLOW, SCMP_CMP_EQ = 0x7FFF0000, 4
SCMP_ACT_ERRNO = 0x00050000
EPERM = 1


class MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace")]


class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("first", ctypes.c_uint64),
                ("second", ctypes.c_uint64)]


def load_seccomp():
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison)]
    return library


SECCOMP = load_seccomp()


def require(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), what)


def set_read_only(path, is_read_only, is_recursive=True):
    attributes = MountAttributes(set=MOUNT_ATTR_RDONLY) if is_read_only else MountAttributes(clear=MOUNT_ATTR_RDONLY)
    flags = AT_RECURSIVE if is_recursive else 0
    result = LIBC.syscall(SYS_MOUNT_SETATTR, -100, os.fsencode(path), flags, ctypes.byref(attributes),
                          ctypes.sizeof(attributes))
    require(result, f"mount_setattr {path}")


def mount(source, target, kind, flags, data=None):
    arguments = [os.fsencode(word) if word else None for word in (source, target, kind)]
    require(LIBC.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(data) if data else None), f"mount {target}")


def system_calls(words):
    """The names of system calls that words such as @system-service stand for."""
    names, left = set(), list(words)
    while left:
        word = left.pop()
        if not word.startswith("@"):
            names.add(word)
            continue
        command = ["systemd-analyze", "syscall-filter", word]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
        left += [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return names


class Conditions:
    """What a unit's [Service] section sets, for a child between fork and exec."""

    def __init__(self, settings, user, writable):
        self.user, self.writable = user, writable
        self.is_root = os.geteuid() == 0
        self.sets = {key for key, values in settings.items() if values and values[-1] == "yes"}
        self.umask = int(settings["UMask"][-1], 8)
        self.is_filtered = SECCOMP is not None
        allowed = set()
        for line in settings["SystemCallFilter"]:
            names = system_calls(line.lstrip("~").split())
            allowed = allowed - names if line.startswith("~") else allowed | names
        # A filter that refuses what starts the program: systemd lets it pass, too.
        self.allowed = allowed | {"execve"}
        self.families = [getattr(socket, name) for name in settings["RestrictAddressFamilies"][-1].split()]

    @staticmethod
    def missing():
        """What cannot be set here, with the reason."""
        lines = []
        if os.geteuid() != 0:
            lines.append("user, read-only file system, /proc and network of the services: that needs root")
        if SECCOMP is None:
            lines.append("the filter of system calls: there is no libseccomp.so.2")
        if LIBC.prctl(66, 0, 0, 0, 0) < 0:
            lines.append("MemoryDenyWriteExecute=: this kernel has no PR_SET_MDWE (Linux 6.3)")
        lines.append("DeviceAllow=, IPAddressAllow=, SocketBindAllow= and limits of memory: only systemd sets them")
        return lines

    def apply(self):
        if self.is_root:
            self.separate()
            self.drop_privileges()
        os.umask(self.umask)
        require(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        if "MemoryDenyWriteExecute" in self.sets:
            LIBC.prctl(PR_SET_MDWE, 1, 0, 0, 0)
        if self.is_filtered:
            self.filter_calls()

    def separate(self):
        """A mount namespace with a read-only system, and a network namespace if the unit has one of its own."""
        require(LIBC.unshare(CLONE_NEWNS | (CLONE_NEWNET if "PrivateNetwork" in self.sets else 0)), "unshare")
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        for path in self.writable:
            mount(str(path), str(path), None, MS_BIND)
        set_read_only("/", True)
        for path in [*self.writable, "/dev"]:
            set_read_only(path, False, is_recursive=path == "/dev")
        mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777")
        mount("proc", "/proc", "proc", 0, "hidepid=2")

    def drop_privileges(self):
        capability = 0
        while LIBC.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
            LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
            capability += 1
        os.setgroups([])
        os.setresgid(self.user.pw_gid, self.user.pw_gid, self.user.pw_gid)
        os.setresuid(self.user.pw_uid, self.user.pw_uid, self.user.pw_uid)

    def filter_calls(self):
        context = SECCOMP.seccomp_init(SCMP_ACT_ERRNO | EPERM)
        for name in self.allowed - {"socket"}:
            number = SECCOMP.seccomp_syscall_resolve_name(name.encode())
            # Names of other architectures have no number.
            if number >= 0:
                SECCOMP.seccomp_rule_add_array(context, SCMP_ACT_ALLOW, number, 0, None)
        number = SECCOMP.seccomp_syscall_resolve_name(b"socket")
        for family in self.families:
            comparison = Comparison(0, SCMP_CMP_EQ, family, 0)
            SECCOMP.seccomp_rule_add_array(context, SCMP_ACT_ALLOW, number, 1, ctypes.byref(comparison))
        require(SECCOMP.seccomp_load(context), "seccomp_load")
