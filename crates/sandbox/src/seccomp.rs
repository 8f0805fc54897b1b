//! The seccomp filters.
//!
//! Three jobs. For everybody: calls that widen the kernel's attack surface and that no package manager needs are refused,
//! in the same spirit as container engines do. For the mode with a single mapped uid: changes of owner, which that
//! name space can't do, are handed to the supervisor ([`super::owners`]), and the calls that drop privileges succeed
//! without doing anything, since there is no other user to become. For a run that is traced: calls that look up a path
//! notify the supervisor ([`super::tracer`]), then continue.
//!
//! Sockets are of the families that are local or in the network name space. Others, such as AF_VSOCK, whose peers are the hypervisor and
//! its agents, belong to no name space. socketcall(2) of the 32-bit ABIs keeps the family in memory, where a filter can't look, and
//! glibc for i386 knows no other way: with the host's network it stays, without a network it makes no sockets.

use super::lookups::{self, Lookup};
use super::sys::Instruction;

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Allow,
    Errno(i32),
    Notify,
}

/// How changes of owner are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chown {
    Real,
    /// By the supervisor, which records them.
    Recorded,
    /// With success, and nothing happens.
    Ignored,
}

/// A change of owner, identified by its system call number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// path, uid, gid; follows symlinks.
    Chown,
    Lchown,
    Fchown,
    /// dirfd, path, uid, gid, flags.
    Fchownat,
}

struct Abi {
    /// AUDIT_ARCH_*, linux/audit.h.
    arch: u32,
    chowns: &'static [(u32, Call)],
    /// Those of `chowns` that pass 16-bit ids.
    short_ids: &'static [u32],
    /// setgroups, setuid and the like.
    drops: &'static [u32],
    refused: &'static [u32],
    lookups: &'static [(u32, Lookup)],
    /// clone (its flags say whether it makes a user name space), unshare.
    clone: u32,
    unshare: u32,
    clone3: u32,
    /// socket, socketpair: the family is their first argument.
    sockets: [u32; 2],
    socketcall: Option<u32>,
}

/// linux/socket.h: AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK.
const FAMILIES: [i32; 5] = [libc::AF_UNSPEC, libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// linux/net.h: SYS_SOCKET, SYS_SOCKETPAIR.
const SOCKETCALLS: [u32; 2] = [1, 8];

const LE: u32 = 0x4000_0000;
const IS_64: u32 = 0x8000_0000;

// The numbers stand here as literals, since a filter also has to know the calls of the other ABIs that the kernel takes
// from the same process. asm/unistd_64.h, asm/unistd_32.h, asm-generic/unistd.h, arch/arm/tools/syscall.tbl.
// In this order, where they exist: add_key request_key keyctl bpf perf_event_open userfaultfd kexec_load
// kexec_file_load setns io_uring_setup.

#[cfg(target_arch = "x86_64")]
const ABIS: &[Abi] = &[
    Abi {
        arch: 62 | LE | IS_64,
        chowns: &[(92, Call::Chown), (93, Call::Fchown), (94, Call::Lchown), (260, Call::Fchownat)],
        short_ids: &[],
        // setuid setgid setreuid setregid setgroups setresuid setresgid setfsuid setfsgid
        drops: &[105, 106, 113, 114, 116, 117, 119, 122, 123],
        refused: &[248, 249, 250, 321, 298, 323, 246, 320, 308, 425],
        lookups: lookups::X86_64,
        clone: 56,
        unshare: 272,
        clone3: 435,
        sockets: [41, 53],
        socketcall: None,
    },
    // i386
    Abi {
        arch: 3 | LE,
        chowns: &[
            (182, Call::Chown),
            (95, Call::Fchown),
            (16, Call::Lchown),
            (212, Call::Chown),
            (207, Call::Fchown),
            (198, Call::Lchown),
            (298, Call::Fchownat),
        ],
        short_ids: &[182, 95, 16],
        drops: &[23, 46, 70, 71, 81, 164, 170, 138, 139, 213, 214, 203, 204, 206, 208, 210, 215, 216],
        refused: &[286, 287, 288, 357, 336, 374, 283, 346, 425],
        lookups: lookups::I386,
        clone: 120,
        unshare: 310,
        clone3: 435,
        sockets: [359, 360],
        socketcall: Some(102),
    },
];

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
const ABIS: &[Abi] = &[
    Abi {
        #[cfg(target_arch = "aarch64")]
        arch: 183 | LE | IS_64,
        #[cfg(target_arch = "riscv64")]
        arch: 243 | LE | IS_64,
        chowns: &[(54, Call::Fchownat), (55, Call::Fchown)],
        short_ids: &[],
        drops: &[146, 144, 145, 143, 159, 147, 149, 151, 152],
        refused: &[217, 218, 219, 280, 241, 282, 104, 294, 268, 425],
        lookups: lookups::GENERIC,
        clone: 220,
        unshare: 97,
        clone3: 435,
        sockets: [198, 199],
        socketcall: None,
    },
    // 32-bit ARM
    #[cfg(target_arch = "aarch64")]
    Abi {
        arch: 40 | LE,
        chowns: &[
            (182, Call::Chown),
            (95, Call::Fchown),
            (16, Call::Lchown),
            (212, Call::Chown),
            (207, Call::Fchown),
            (198, Call::Lchown),
            (325, Call::Fchownat),
        ],
        short_ids: &[182, 95, 16],
        drops: &[23, 46, 70, 71, 81, 164, 170, 138, 139, 213, 214, 203, 204, 206, 208, 210, 215, 216],
        refused: &[309, 310, 311, 386, 364, 388, 347, 401, 375, 425],
        lookups: lookups::ARM,
        clone: 120,
        unshare: 337,
        clone3: 435,
        sockets: [281, 288],
        socketcall: Some(102),
    },
];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
const ABIS: &[Abi] = &[];

/// A call with bit 30 set is one of the x32 ABI's. asm/unistd.h.
const X32: u32 = 0x4000_0000;
const CLONE_NEWUSER: u32 = 0x1000_0000;

// struct seccomp_data: nr at 0, arch at 4, args from 16 on, 8 bytes each. linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARG_0: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };
const ARG_LEN: u32 = 8;

// linux/bpf_common.h
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Whether the filters know this machine's calls.
pub(super) const SUPPORTED: bool = !ABIS.is_empty();

/// The filter program, or nothing on a machine whose calls aren't known here. `own_network`: the command has a network name space
/// of its own.
pub(super) fn program(chown: Chown, traced: bool, own_network: bool) -> Vec<Instruction> {
    let mut out = Vec::new();
    if ABIS.is_empty() {
        return out;
    }
    out.push(load(ARCH));
    for abi in ABIS {
        let body = body(abi, chown, traced, own_network);
        // Over the body, if the call isn't of this ABI. Its length fits: JUMP_EQUAL's reach is 255.
        let over = u8::try_from(body.len()).unwrap_or(u8::MAX);
        out.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: over, k: abi.arch });
        out.extend(body);
    }
    out.push(ret(Action::Errno(libc::ENOSYS)));
    out
}

/// The change of owner that a call is, and whether its ids are the old ones of 16 bits.
pub(super) fn call(arch: u32, number: i32) -> Option<(Call, bool)> {
    let number = u32::try_from(number).ok()?;
    let abi = ABIS.iter().find(|a| a.arch == arch)?;
    let &(_, call) = abi.chowns.iter().find(|(n, _)| *n == number)?;
    Some((call, abi.short_ids.contains(&number)))
}

/// The lookup that a call is.
pub(super) fn lookup(arch: u32, number: i32) -> Option<Lookup> {
    let number = u32::try_from(number).ok()?;
    let abi = ABIS.iter().find(|a| a.arch == arch)?;
    abi.lookups.iter().find(|(n, _)| *n == number).map(|(_, lookup)| *lookup)
}

/// Whether pointers of calls of this ABI are 32 bits wide.
pub(super) fn is_32_bit(arch: u32) -> bool {
    arch & IS_64 == 0
}

fn body(abi: &Abi, chown: Chown, traced: bool, own_network: bool) -> Vec<Instruction> {
    let mut out = vec![load(NUMBER)];
    if abi.arch == (62 | LE | IS_64) {
        on(&mut out, JUMP_AT_LEAST, X32, Action::Errno(libc::ENOSYS));
    }
    for &number in abi.refused {
        on(&mut out, JUMP_EQUAL, number, Action::Errno(libc::ENOSYS));
    }
    // Its flags are in memory, where a filter can't look; the C libraries fall back to clone.
    on(&mut out, JUMP_EQUAL, abi.clone3, Action::Errno(libc::ENOSYS));
    if chown != Chown::Real {
        let action = if chown == Chown::Recorded { Action::Notify } else { Action::Errno(0) };
        for &(number, _) in abi.chowns {
            on(&mut out, JUMP_EQUAL, number, action);
        }
        for &number in abi.drops {
            on(&mut out, JUMP_EQUAL, number, Action::Errno(0));
        }
    }
    if traced {
        for (number, lookup) in abi.lookups {
            notify(&mut out, *number, lookup);
        }
    }
    sockets(&mut out, abi, own_network);
    // A user name space inside would give back the capabilities that were taken away.
    out.push(Instruction { code: JUMP_EQUAL, jt: 1, jf: 0, k: abi.clone });
    out.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: 3, k: abi.unshare });
    out.push(load(ARG_0));
    on(&mut out, JUMP_BITS, CLONE_NEWUSER, Action::Errno(libc::EPERM));
    out.push(ret(Action::Allow));
    out
}

/// Refuses sockets of other families, as a kernel without them does.
fn sockets(out: &mut Vec<Instruction>, abi: &Abi, own_network: bool) {
    let [socket, socketpair] = abi.sockets;
    let refusal = Action::Errno(libc::EAFNOSUPPORT);
    // Over the load, the families with their answers, and the refusal.
    let over = 2 * FAMILIES.len() as u8 + 2;
    out.push(Instruction { code: JUMP_EQUAL, jt: 1, jf: 0, k: socket });
    out.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: over, k: socketpair });
    out.push(load(ARG_0));
    for family in FAMILIES {
        on(out, JUMP_EQUAL, family as u32, Action::Allow);
    }
    out.push(ret(refusal));
    if let Some(socketcall) = abi.socketcall.filter(|_| own_network) {
        out.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: 2 * SOCKETCALLS.len() as u8 + 2, k: socketcall });
        out.push(load(ARG_0));
        for call in SOCKETCALLS {
            on(out, JUMP_EQUAL, call, refusal);
        }
        out.push(ret(Action::Allow));
    }
}

/// Notifies the supervisor of a lookup. With nothing but AT_EMPTY_PATH among its flags it is the C libraries' fstat(3), which has
/// no path, and is called for each file that is opened.
fn notify(out: &mut Vec<Instruction>, number: u32, lookup: &Lookup) {
    let Some(flags) = lookup.flags.filter(|_| lookup.then == lookups::Then::Nothing) else {
        return on(out, JUMP_EQUAL, number, Action::Notify);
    };
    out.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: 4, k: number });
    out.push(load(ARG_0 + ARG_LEN * flags as u32));
    on(out, JUMP_EQUAL, lookups::EMPTY_PATH, Action::Allow);
    out.push(ret(Action::Notify));
}

fn on(out: &mut Vec<Instruction>, code: u16, k: u32, action: Action) {
    out.push(Instruction { code, jt: 0, jf: 1, k });
    out.push(ret(action));
}

fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, jt: 0, jf: 0, k: offset }
}

fn ret(action: Action) -> Instruction {
    let k = match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Errno(e) => libc::SECCOMP_RET_ERRNO | e as u32,
        Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
    };
    Instruction { code: RETURN, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer: a small interpreter of the instructions that are used.
    fn answer(program: &[Instruction], arch: u32, number: u32, args: [u32; 4]) -> u32 {
        let mut at = 0;
        let mut a = 0;
        loop {
            let i = program[at];
            at += 1;
            let jump = |yes: bool| if yes { i.jt as usize } else { i.jf as usize };
            match i.code {
                LOAD => {
                    a = match i.k {
                        NUMBER => number,
                        ARCH => arch,
                        k => args[((k - ARG_0) / ARG_LEN) as usize],
                    }
                }
                JUMP_EQUAL => at += jump(a == i.k),
                JUMP_AT_LEAST => at += jump(a >= i.k),
                JUMP_BITS => at += jump(a & i.k != 0),
                RETURN => return i.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    const OK: u32 = libc::SECCOMP_RET_ALLOW;
    const FAKE: u32 = libc::SECCOMP_RET_ERRNO;
    const NOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    const PERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const TOLD: u32 = libc::SECCOMP_RET_USER_NOTIF;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn answers() {
        let (x86_64, i386) = (0xc000_003e, 0x4000_0003);
        let rows: &[(&str, u32, u32, u32, [u32; 3])] = &[
            // name, arch, number, first argument; answer with chown real, recorded, ignored
            ("read", x86_64, 0, 0, [OK, OK, OK]),
            ("chown", x86_64, 92, 0, [OK, TOLD, FAKE]),
            ("fchown", x86_64, 93, 0, [OK, TOLD, FAKE]),
            ("lchown", x86_64, 94, 0, [OK, TOLD, FAKE]),
            ("fchownat", x86_64, 260, 0, [OK, TOLD, FAKE]),
            ("setgroups", x86_64, 116, 0, [OK, FAKE, FAKE]),
            ("setresuid", x86_64, 117, 0, [OK, FAKE, FAKE]),
            ("keyctl", x86_64, 250, 0, [NOSYS; 3]),
            ("bpf", x86_64, 321, 0, [NOSYS; 3]),
            ("clone3", x86_64, 435, 0, [NOSYS; 3]),
            ("clone of a process", x86_64, 56, 0x11, [OK; 3]),
            ("clone of a user name space", x86_64, 56, 0x1000_0011, [PERM; 3]),
            ("unshare of mounts", x86_64, 272, 0x2_0000, [OK; 3]),
            ("unshare of users", x86_64, 272, 0x1002_0000, [PERM; 3]),
            ("getpid whose argument looks like a flag", x86_64, 39, 0x1000_0000, [OK; 3]),
            ("x32 chown", x86_64, 0x4000_005c, 0, [NOSYS; 3]),
            ("i386 chown of 16 bits", i386, 182, 0, [OK, TOLD, FAKE]),
            ("i386 lchown32", i386, 198, 0, [OK, TOLD, FAKE]),
            ("i386 fchownat", i386, 298, 0, [OK, TOLD, FAKE]),
            ("i386 setgroups32", i386, 206, 0, [OK, FAKE, FAKE]),
            ("i386 unshare of users", i386, 310, 0x1000_0000, [PERM; 3]),
            ("i386 lchown's number as x86-64 fchmodat", x86_64, 268, 0, [OK; 3]),
            ("another machine", 0xc000_00b7, 54, 0, [NOSYS; 3]),
        ];
        for (name, arch, number, arg0, expected) in rows {
            for (chown, expected) in [Chown::Real, Chown::Recorded, Chown::Ignored].into_iter().zip(expected)
            {
                for traced in [false, true] {
                    let program = program(chown, traced, false);
                    assert_eq!(
                        answer(&program, *arch, *number, [*arg0, 0, 0, 0]),
                        *expected,
                        "{name} {chown:?}"
                    );
                }
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn lookups_are_told() {
        let (x86_64, i386) = (0xc000_003e, 0x4000_0003);
        for (name, arch, number, args, expected) in [
            ("openat", x86_64, 257, [0; 4], TOLD),
            ("execve", x86_64, 59, [0; 4], TOLD),
            ("newfstatat", x86_64, 262, [0; 4], TOLD),
            ("newfstatat of a link", x86_64, 262, [0, 0, 0, 0x100], TOLD),
            ("fstat", x86_64, 262, [0, 0, 0, 0x1000], OK),
            ("statx", x86_64, 332, [0; 4], TOLD),
            ("statx of a descriptor", x86_64, 332, [0, 0, 0x1000, 0xfff], OK),
            ("unlink", x86_64, 87, [0; 4], OK),
            ("openat for appending", x86_64, 257, [0, 0, 0o2101, 0], TOLD),
            ("openat of a new file", x86_64, 257, [0, 0, 0o301, 0], TOLD),
            ("open of a file anew", x86_64, 2, [0, 0o1101, 0, 0], TOLD),
            ("open that cuts a file", x86_64, 2, [0, 0o1001, 0, 0], TOLD),
            ("read", x86_64, 0, [0; 4], OK),
            ("i386 open", i386, 5, [0; 4], TOLD),
            ("i386 stat64", i386, 195, [0; 4], TOLD),
        ] {
            for chown in [Chown::Real, Chown::Recorded, Chown::Ignored] {
                assert_eq!(answer(&program(chown, true, true), arch, number, args), expected, "{name}");
                assert_eq!(
                    answer(&program(chown, false, true), arch, number, args),
                    OK,
                    "{name}, not traced"
                );
            }
            assert_eq!(
                lookup(arch, number as i32).is_some(),
                expected == TOLD || args.iter().any(|a| *a > 0),
                "{name}"
            );
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn sockets_of_no_name_space() {
        let (x86_64, i386) = (0xc000_003e, 0x4000_0003);
        let no = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
        for (name, arch, number, family, host, own) in [
            ("unix", x86_64, 41, 1, OK, OK),
            ("unix pair", x86_64, 53, 1, OK, OK),
            ("inet", x86_64, 41, 2, OK, OK),
            ("inet6", x86_64, 41, 10, OK, OK),
            ("netlink", x86_64, 41, 16, OK, OK),
            ("vsock", x86_64, 41, 40, no, no),
            ("vsock pair", x86_64, 53, 40, no, no),
            ("alg", x86_64, 41, 38, no, no),
            ("packet", x86_64, 41, 17, no, no),
            ("the same number elsewhere", x86_64, 40, 40, OK, OK),
            ("i386 vsock", i386, 359, 40, no, no),
            ("i386 inet", i386, 359, 2, OK, OK),
            ("i386 socketcall of a socket", i386, 102, 1, OK, no),
            ("i386 socketcall of a pair", i386, 102, 8, OK, no),
            ("i386 socketcall of connect", i386, 102, 3, OK, OK),
        ] {
            for chown in [Chown::Real, Chown::Recorded, Chown::Ignored] {
                for traced in [false, true] {
                    for (own_network, expected) in [(false, host), (true, own)] {
                        let program = program(chown, traced, own_network);
                        let got = answer(&program, arch, number, [family, 0, 0, 0]);
                        assert_eq!(got, expected, "{name}, own network: {own_network}");
                    }
                }
            }
        }
    }

    #[test]
    fn calls_are_told_apart() {
        for abi in ABIS {
            for &(number, expected) in abi.chowns {
                let (got, short) = call(abi.arch, number as i32).unwrap();
                assert_eq!(got, expected);
                assert_eq!(short, abi.short_ids.contains(&number));
            }
            assert_eq!(call(abi.arch, 0), None);
        }
        assert_eq!(call(0, 92), None);
    }

    #[test]
    fn bodies_are_within_a_jump() {
        for abi in ABIS {
            assert!(body(abi, Chown::Recorded, true, true).len() <= 255);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn numbers_agree_with_libc() {
        let mut ours: Vec<i64> = ABIS[0].chowns.iter().map(|c| i64::from(c.0)).collect();
        ours.extend(ABIS[0].drops.iter().map(|&n| i64::from(n)));
        ours.extend(ABIS[0].refused.iter().map(|&n| i64::from(n)));
        ours.extend([ABIS[0].clone, ABIS[0].unshare, ABIS[0].clone3].map(i64::from));
        ours.extend(ABIS[0].sockets.map(i64::from));
        let libcs = [
            libc::SYS_chown,
            libc::SYS_fchown,
            libc::SYS_lchown,
            libc::SYS_fchownat,
            libc::SYS_setuid,
            libc::SYS_setgid,
            libc::SYS_setreuid,
            libc::SYS_setregid,
            libc::SYS_setgroups,
            libc::SYS_setresuid,
            libc::SYS_setresgid,
            libc::SYS_setfsuid,
            libc::SYS_setfsgid,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_keyctl,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_kexec_load,
            libc::SYS_kexec_file_load,
            libc::SYS_setns,
            libc::SYS_io_uring_setup,
            libc::SYS_clone,
            libc::SYS_unshare,
            libc::SYS_clone3,
            libc::SYS_socket,
            libc::SYS_socketpair,
        ];
        assert_eq!(ours, libcs);
    }
}
