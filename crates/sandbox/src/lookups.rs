//! The system calls that look up an existing path, and which argument holds it. Used by the trace.
//!
//! Calls that remove or rename files aren't among them, nor those by descriptor: whatever a descriptor stands for was
//! opened by its path. Those that make directories are: a directory that is missing above them is of interest.

/// AT_SYMLINK_NOFOLLOW, linux/fcntl.h.
pub(super) const NO_FOLLOW: u32 = 0x100;
/// AT_EMPTY_PATH, linux/fcntl.h.
pub(super) const EMPTY_PATH: u32 = 0x1000;
/// O_CREAT, asm-generic/fcntl.h, as on all of these machines.
pub(super) const CREATE: u32 = 0o100;
/// O_EXCL and O_TRUNC: with `CREATE` nothing of a file that may be there is of interest.
pub(super) const ANEW: u32 = 0o200 | 0o1000;

/// One of these calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lookup {
    /// The argument with the directory's descriptor at which a relative path starts; `None`: the current directory.
    pub(super) dir: Option<usize>,
    /// The argument with the path's address.
    pub(super) path: usize,
    /// The argument with `AT_*` flags.
    pub(super) flags: Option<usize>,
    /// Whether a symlink in the last place is followed; `NO_FOLLOW` among the flags says no.
    pub(super) follows: bool,
    /// The argument with `O_*` flags.
    pub(super) open: Option<usize>,
    pub(super) then: Then,
}

/// What such a call does with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Looks at it, or opens it.
    Nothing,
    /// Executes it: its interpreter is looked up by the kernel.
    Exec,
    /// Makes it the root directory.
    Chroot,
    /// Makes a symlink that leads there.
    Link,
    /// Makes a directory there.
    Make,
}

/// path, …
const PATH: Lookup =
    Lookup { dir: None, path: 0, flags: None, follows: true, open: None, then: Then::Nothing };
/// As `PATH`, but a symlink itself is meant.
const LINK: Lookup = Lookup { follows: false, ..PATH };
const EXEC: Lookup = Lookup { then: Then::Exec, ..PATH };
/// path, flags, …
const OPEN: Lookup = Lookup { open: Some(1), ..PATH };
/// target, …
const SYMLINK: Lookup = Lookup { then: Then::Link, ..PATH };
const MAKE: Lookup = Lookup { then: Then::Make, ..PATH };
const MAKE_AT: Lookup = Lookup { then: Then::Make, ..AT };
const CHROOT: Lookup = Lookup { then: Then::Chroot, ..PATH };
/// dirfd, path, …
const AT: Lookup = Lookup { dir: Some(0), path: 1, ..PATH };
/// dirfd, path, flags, …
const OPEN_AT: Lookup = Lookup { open: Some(2), ..AT };
const LINK_AT: Lookup = Lookup { follows: false, ..AT };
/// dirfd, path, flags, …
const AT_FLAGS_2: Lookup = Lookup { flags: Some(2), ..AT };
/// dirfd, path, …, flags
const AT_FLAGS_3: Lookup = Lookup { flags: Some(3), ..AT };
/// dirfd, path, argv, envp, flags
const EXEC_AT: Lookup = Lookup { flags: Some(4), then: Then::Exec, ..AT };

/// asm/unistd_64.h.
#[cfg(target_arch = "x86_64")]
pub(super) const X86_64: &[(u32, Lookup)] = &[
    (257, OPEN_AT),    // openat
    (262, AT_FLAGS_3), // newfstatat
    (4, PATH),         // stat
    (6, LINK),         // lstat
    (2, OPEN),         // open
    (21, PATH),        // access
    (89, LINK),        // readlink
    (332, AT_FLAGS_2), // statx
    (269, AT),         // faccessat
    (439, AT_FLAGS_3), // faccessat2
    (267, LINK_AT),    // readlinkat
    (59, EXEC),        // execve
    (322, EXEC_AT),    // execveat
    (437, AT),         // openat2
    (80, PATH),        // chdir
    (161, CHROOT),     // chroot
    (137, PATH),       // statfs
    (191, PATH),       // getxattr
    (192, LINK),       // lgetxattr
    (88, SYMLINK),     // symlink
    (266, SYMLINK),    // symlinkat
    (83, MAKE),        // mkdir
    (258, MAKE_AT),    // mkdirat
];

/// asm/unistd_32.h.
#[cfg(target_arch = "x86_64")]
pub(super) const I386: &[(u32, Lookup)] = &[
    (295, OPEN_AT),    // openat
    (300, AT_FLAGS_3), // fstatat64
    (195, PATH),       // stat64
    (196, LINK),       // lstat64
    (5, OPEN),         // open
    (33, PATH),        // access
    (85, LINK),        // readlink
    (383, AT_FLAGS_2), // statx
    (307, AT),         // faccessat
    (439, AT_FLAGS_3), // faccessat2
    (305, LINK_AT),    // readlinkat
    (11, EXEC),        // execve
    (358, EXEC_AT),    // execveat
    (437, AT),         // openat2
    (12, PATH),        // chdir
    (61, CHROOT),      // chroot
    (99, PATH),        // statfs
    (268, PATH),       // statfs64
    (106, PATH),       // stat
    (107, LINK),       // lstat
    (18, PATH),        // oldstat
    (84, LINK),        // oldlstat
    (229, PATH),       // getxattr
    (230, LINK),       // lgetxattr
    (83, SYMLINK),     // symlink
    (304, SYMLINK),    // symlinkat
    (39, MAKE),        // mkdir
    (296, MAKE_AT),    // mkdirat
];

/// asm-generic/unistd.h.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
pub(super) const GENERIC: &[(u32, Lookup)] = &[
    (56, OPEN_AT),     // openat
    (79, AT_FLAGS_3),  // newfstatat
    (291, AT_FLAGS_2), // statx
    (48, AT),          // faccessat
    (439, AT_FLAGS_3), // faccessat2
    (78, LINK_AT),     // readlinkat
    (221, EXEC),       // execve
    (281, EXEC_AT),    // execveat
    (437, AT),         // openat2
    (49, PATH),        // chdir
    (51, CHROOT),      // chroot
    (43, PATH),        // statfs
    (8, PATH),         // getxattr
    (9, LINK),         // lgetxattr
    (36, SYMLINK),     // symlinkat
    (34, MAKE_AT),     // mkdirat
];

/// arch/arm/tools/syscall.tbl.
#[cfg(target_arch = "aarch64")]
pub(super) const ARM: &[(u32, Lookup)] = &[
    (322, OPEN_AT),    // openat
    (327, AT_FLAGS_3), // fstatat64
    (195, PATH),       // stat64
    (196, LINK),       // lstat64
    (5, OPEN),         // open
    (33, PATH),        // access
    (85, LINK),        // readlink
    (397, AT_FLAGS_2), // statx
    (334, AT),         // faccessat
    (439, AT_FLAGS_3), // faccessat2
    (332, LINK_AT),    // readlinkat
    (11, EXEC),        // execve
    (387, EXEC_AT),    // execveat
    (437, AT),         // openat2
    (12, PATH),        // chdir
    (61, CHROOT),      // chroot
    (99, PATH),        // statfs
    (266, PATH),       // statfs64
    (106, PATH),       // stat
    (107, LINK),       // lstat
    (229, PATH),       // getxattr
    (230, LINK),       // lgetxattr
    (83, SYMLINK),     // symlink
    (331, SYMLINK),    // symlinkat
    (39, MAKE),        // mkdir
    (323, MAKE_AT),    // mkdirat
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn numbers_agree_with_libc() {
        let ours: Vec<i64> = X86_64.iter().map(|l| i64::from(l.0)).collect();
        let libcs = [
            libc::SYS_openat,
            libc::SYS_newfstatat,
            libc::SYS_stat,
            libc::SYS_lstat,
            libc::SYS_open,
            libc::SYS_access,
            libc::SYS_readlink,
            libc::SYS_statx,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_readlinkat,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_openat2,
            libc::SYS_chdir,
            libc::SYS_chroot,
            libc::SYS_statfs,
            libc::SYS_getxattr,
            libc::SYS_lgetxattr,
            libc::SYS_symlink,
            libc::SYS_symlinkat,
            libc::SYS_mkdir,
            libc::SYS_mkdirat,
        ];
        assert_eq!(ours, libcs);
    }
}
