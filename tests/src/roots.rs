//! Debian roots, by mmdebstrap.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{Program, place::cached, work::require_root};

/// A tar of what Debian's official image holds: `minbase`, nothing else. Some 180 MB.
///
/// # Errors
/// mmdebstrap's.
pub fn debian_tar() -> Result<PathBuf> {
    tar("debian-bookworm", "bookworm", "", &[])
}

/// The same of Debian 13.
///
/// # Errors
/// mmdebstrap's.
pub fn trixie_tar() -> Result<PathBuf> {
    tar("debian-trixie", "trixie", "", &[])
}

/// The same with nginx and htop.
///
/// # Errors
/// mmdebstrap's.
pub fn nginx_tar() -> Result<PathBuf> {
    tar("debian-nginx", "bookworm", "nginx,htop", &[])
}

/// The same with nothing cleaned up, as scripts leave a root: with apt's lists, caches and packages.
///
/// # Errors
/// mmdebstrap's.
pub fn nginx_uncleaned_tar() -> Result<PathBuf> {
    tar("debian-nginx-uncleaned", "bookworm", "nginx,htop", &["--skip=cleanup"])
}

fn tar(name: &str, suite: &str, package: &str, options: &[&str]) -> Result<PathBuf> {
    require_root()?;
    let dir = cached(name, &format!("minbase {package} 1"), |dir| {
        let debstrap = Program::new("mmdebstrap").args(["--quiet", "--mode=root", "--variant=minbase"]);
        // An empty list of packages is an error.
        let include = (!package.is_empty()).then(|| format!("--include={package}"));
        let debstrap = debstrap.args(include).args(options);
        debstrap.arg(suite).arg(dir.join("root.tar")).run().map(drop)
    })?;
    Ok(dir.join("root.tar"))
}

/// What turns a minimal Debian into a host: systemd, what loads its kernel's modules, and kill(1).
const HOST_PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,kmod,procps";

/// What Debian 13 has in packages of their own: signed images (libcryptsetup is loaded when it is there), the makers
/// and readers of disk images, and what systemd-sysupdate checks signatures with.
const MORE_OF_TRIXIE: &str = ",libcryptsetup12,systemd-container,systemd-repart,erofs-utils,gpg";

/// The kernel is unpacked, not installed: its scripts would make an initrd that nobody uses.
const KERNEL: &str = r#"
cd /var/tmp
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p')
apt-get -q download "$kernel"
dpkg -x "$kernel"_*.deb unpacked
mv unpacked/boot/vmlinuz-* /boot/vmlinuz
mv unpacked/lib/modules /usr/lib/modules || mv unpacked/usr/lib/modules /usr/lib/modules
rm -r "$kernel"_*.deb unpacked
depmod "$(ls /usr/lib/modules)"
mkdir -p /etc/extensions
"#;

/// A Debian host with systemd, and a kernel in `boot/vmlinuz`: a directory to merge extensions into, or to boot.
///
/// # Errors
/// mmdebstrap's.
pub fn host(suite: &str) -> Result<PathBuf> {
    require_root()?;
    let packages = match suite {
        "bookworm" => HOST_PACKAGES.to_owned(),
        _ => format!("{HOST_PACKAGES}{MORE_OF_TRIXIE}"),
    };
    let recipe = format!("{packages}\n{KERNEL}");
    let dir = cached(&format!("host-{suite}"), &recipe, |dir| make_host(suite, &packages, dir))?;
    Ok(dir.join("root"))
}

/// A Debian 13 host with a policy of SELinux, and what labels files by it.
///
/// # Errors
/// mmdebstrap's.
pub fn selinux() -> Result<PathBuf> {
    require_root()?;
    let packages = format!("{HOST_PACKAGES},policycoreutils,selinux-utils,selinux-policy-default");
    let recipe = format!("{packages}\n{KERNEL}");
    let dir = cached("selinux-trixie", &recipe, |dir| make_host("trixie", &packages, dir))?;
    Ok(dir.join("root"))
}

fn make_host(suite: &str, packages: &str, dir: &Path) -> Result<()> {
    let root = dir.join("root");
    let without =
        ["doc", "man", "locale", "info"].map(|d| format!("--dpkgopt=path-exclude=/usr/share/{d}/*"));
    Program::new("mmdebstrap")
        .args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"])
        .args(without)
        .arg(format!("--include={packages}"))
        .arg(format!("--customize-hook=chroot \"$1\" sh -euc '{}'", KERNEL.replace('\'', r"'\''")))
        .arg(suite)
        .arg(&root)
        .run()?;
    Ok(())
}
