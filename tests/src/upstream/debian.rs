//! Real programs, out of Debian's packages, for both architectures; nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::programs::Machine;
use crate::Program;

/// Packages for both machines, and the versions that upstream gives them.
const BOTH: [&str; 2] = ["nebula", "nats-server"];
/// Big ones: for one machine.
const AMD64: [&str; 2] = ["containerd", "runc"];

/// apt with lists of its own, so that the machine's know nothing of another architecture.
const DOWNLOAD: &str = r#"
cd "$1"; shift
mkdir -p lists/partial archives/partial
: > status
cat > apt.conf <<END
Dir::State::Lists "$PWD/lists";
Dir::State::status "$PWD/status";
Dir::Cache "$PWD/archives";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Debug::NoLocking "true";
END
export APT_CONFIG=$PWD/apt.conf
apt-get -q update >&2
apt-get -q download "$@" >&2
for deb in *.deb; do
    name=${deb%%_*}; arch=${deb##*_}
    dpkg-deb -x "$deb" "$name-${arch%.deb}"
done
"#;

/// Unpacked packages.
#[derive(Debug)]
pub struct Unpacked {
    dir: PathBuf,
}

/// Downloads and unpacks them into a directory.
///
/// # Errors
/// apt's.
pub fn packages(scratch: &Path) -> Result<Unpacked> {
    let dir = scratch.join("debian");
    fs::create_dir(&dir)?;
    let names = BOTH.iter().flat_map(|p| [format!("{p}:amd64"), format!("{p}:arm64")]);
    let names = names.chain(AMD64.iter().map(|p| format!("{p}:amd64")));
    Program::new("sh").args(["-euc", DOWNLOAD, "download"]).arg(&dir).args(names).run()?;
    Ok(Unpacked { dir })
}

impl Unpacked {
    /// A file of a package.
    ///
    /// # Errors
    /// It isn't there.
    pub fn file(&self, package: &str, machine: Machine, path: &str) -> Result<Vec<u8>> {
        let path = self.dir.join(format!("{package}-{}", machine.goarch())).join(path);
        fs::read(&path).with_context(|| format!("{path:?}"))
    }
}
