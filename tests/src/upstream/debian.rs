//! Real programs, out of Debian's packages, for both architectures; nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::programs::Machine;
use crate::{Program, place::cached, roots};

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

/// The same for a source package: upstream's archive is a part of it, with upstream's signature if there is one. Its mirror is the
/// root's; updates of Debian's own aren't needed.
const SOURCE: &str = r#"
cd "$1"
mkdir -p lists/partial archives/partial
: > status
sed -n -e '/-security\|-updates/d' -e 's/^deb /deb-src /p' "$2/etc/apt/sources.list" > sources.list
cat > apt.conf <<END
Dir::State::Lists "$PWD/lists";
Dir::State::status "$PWD/status";
Dir::Cache "$PWD/archives";
Dir::Etc::SourceList "$PWD/sources.list";
Dir::Etc::SourceParts "/dev/null";
APT::Sandbox::User "root";
Debug::NoLocking "true";
END
export APT_CONFIG=$PWD/apt.conf
apt-get -q update >&2
# Just what is upstream's; 'URI' NAME SIZE HASH.
apt-get -q source --print-uris --only-source "$3" | sed -n "s/^'\(.*\)' \(.*\.orig\.tar.*\) [0-9]* \(.*\)/\1 \2 \3/p" > files
while read -r uri name hash; do
    /usr/lib/apt/apt-helper download-file "$uri" "$name" "$hash" >&2
done < files
rm -r lists archives
"#;

/// What upstream released.
#[derive(Debug)]
pub struct Source {
    /// The version, as upstream writes it.
    pub version: String,
    /// The source archive, compressed by gzip.
    pub archive: Vec<u8>,
    /// Upstream's OpenPGP signature of it, armored.
    pub signature: Option<Vec<u8>>,
}

/// Upstream's source of a package, as Debian's `suite` has it.
///
/// # Errors
/// apt's.
pub fn source(package: &str, suite: &str) -> Result<Source> {
    let root = roots::host(suite)?;
    let dir = cached(&format!("source-{package}"), &format!("{SOURCE}{suite}"), |dir| {
        Program::new("sh").args(["-euc", SOURCE, "source"]).arg(dir).arg(&root).arg(package).run().map(drop)
    })?;
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = name.strip_prefix(&format!("{package}_")).and_then(|n| n.strip_suffix(".orig.tar.gz"));
        if let Some(version) = version {
            let archive = fs::read(&path).with_context(|| format!("{path:?}"))?;
            let signature = fs::read(path.with_file_name(format!("{name}.asc"))).ok();
            return Ok(Source { version: version.to_owned(), archive, signature });
        }
    }
    bail!("{dir:?}: has no {package}_VERSION.orig.tar.gz")
}

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
