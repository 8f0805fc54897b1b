//! The archives that an installation takes: listed without installing them, and installed without a network.

use std::ffi::OsString;

use store::Digest;
use tree::StaticPath;

use super::{Manager, PackageError};
use crate::Run;

/// Where [`Manager::list`] writes the list, and [`Manager::install_archives`] finds the archives.
pub const ARCHIVES: StaticPath = StaticPath::new("/.packages");
/// The list in [`ARCHIVES`].
pub const LIST: StaticPath = StaticPath::new("/.packages/list");

/// apt-get(8): `--print-uris` checks nothing, but what it prints is from lists that `update` has checked. Without `ForceHash` it prints digests of MD5.
const LIST_APT: &str = "mkdir /.packages && apt-get -o Acquire::Retries=3 update \
    && apt-get -qq -o Acquire::ForceHash=SHA256 install -y --no-install-recommends --print-uris -- \"$@\" > /.packages/list \
    && apt-get clean && rm -rf /var/lib/apt/lists/*";

/// apk(8) prints `(1/3) Installing b3sum (1.5.1-r0)`, and knows no digests of whole files. What isn't understood is an error: each step of the
/// plan has an archive.
const LIST_APK: &str = "mkdir /.packages && apk add --simulate --no-cache --no-progress -- \"$@\" > /.packages/plan \
    && set -- $(sed -n 's/^([0-9/ ]*) [A-Z][a-z]*ing \\([^ ]*\\) (.*/\\1/p' /.packages/plan) && : > /.packages/list \
    && if [ $# -gt 0 ]; then apk fetch --no-cache --no-progress --url --simulate -- \"$@\" > /.packages/list; fi \
    && [ \"$(grep -c '^([ 0-9]*/' /.packages/plan)\" = $# ] && [ \"$(grep -c '\\.apk$' /.packages/list)\" = $# ]";

const INSTALL_APT: &str = "set -- /.packages/*.deb && [ -e \"$1\" ] || exit 0; \
    apt-get -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold install -y --no-install-recommends -- \"$@\"";

/// Signatures of the archives are checked with the image's keys.
const INSTALL_APK: &str = "set -- /.packages/*.apk && [ -e \"$1\" ] || exit 0; \
    apk add --no-network --no-cache --no-progress --repositories-file /dev/null -- \"$@\"";

/// An archive of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where the distribution has it.
    pub url: String,
    /// Bytes, if the distribution says.
    pub size: Option<u64>,
    /// Of its bytes, if the distribution says.
    pub sha256: Option<Digest>,
}

/// Why a list can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the package manager lists {line:?}, expected the URL of a package")]
pub struct ListError {
    line: String,
}

impl Manager {
    /// The command that writes which archives an installation takes to [`LIST`]; none for managers that can't install them by
    /// themselves.
    ///
    /// # Errors
    /// A name that isn't a package's.
    pub fn list(self, packages: &[String]) -> Result<Option<Run>, PackageError> {
        let script = match self {
            Manager::Apt => LIST_APT,
            Manager::Apk => LIST_APK,
            _ => return Ok(None),
        };
        // Its checks of names, its title, and what it says of missing packages.
        let install = self.install(packages)?;
        let words = ["/bin/sh", "-c", script, "list"].map(OsString::from);
        let argv = words.into_iter().chain(packages.iter().map(OsString::from)).collect();
        let title = Some(format!("looking for {} ({self})", packages.join(", ")));
        // What is in the cache was the newest once.
        Ok(Some(Run { argv, title, rerun: true, ..install }))
    }

    /// The command that installs the archives in [`ARCHIVES`]; none if [`Manager::list`] gives none.
    pub fn install_archives(self, packages: &[String]) -> Option<Run> {
        let script = match self {
            Manager::Apt => INSTALL_APT,
            Manager::Apk => INSTALL_APK,
            _ => return None,
        };
        let mut run = Run::new(["/bin/sh", "-c", script].map(OsString::from).to_vec());
        run.network = crate::Network::None;
        run.title = Some(format!("installing {} ({self})", packages.join(", ")));
        Some(run)
    }

    /// The archives of a list, in its order.
    ///
    /// # Errors
    /// A line that names none.
    pub fn archives(self, list: &str) -> Result<Vec<Archive>, ListError> {
        let lines = list.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<&str> = match self {
            // Among the lines is what they say to people, such as `fetch URL` of an index.
            Manager::Apt => lines.filter(|line| line.starts_with('\'')).collect(),
            _ => lines.filter(|line| !line.starts_with("fetch ")).collect(),
        };
        let read = |line: &str| match self {
            Manager::Apt => of_apt(line),
            _ => Some(Archive { url: line.to_owned(), size: None, sha256: None }),
        };
        let is_url = |archive: &Archive| {
            let schemes = ["https://", "http://"];
            schemes.iter().any(|scheme| archive.url.starts_with(scheme))
                && archive.url.bytes().all(|b| b.is_ascii_graphic())
        };
        let found =
            |line: &&str| read(line).filter(is_url).ok_or_else(|| ListError { line: (*line).to_owned() });
        lines.iter().map(found).collect()
    }

    /// How the names of its archives end.
    pub fn archive_ending(self) -> &'static str {
        match self {
            Manager::Apk => ".apk",
            _ => ".deb",
        }
    }
}

/// `'URL' FILE SIZE SHA256:DIGEST`.
fn of_apt(line: &str) -> Option<Archive> {
    let mut words = line.split_whitespace();
    let url = words.next()?.strip_prefix('\'')?.strip_suffix('\'')?.to_owned();
    let size = words.nth(1)?.parse().ok()?;
    let sha256 = format!("sha256:{}", words.next()?.strip_prefix("SHA256:")?).parse().ok()?;
    Some(Archive { url, size: Some(size), sha256: Some(sha256) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let sum = "ab".repeat(32);
        let of_apt = format!(
            "NOTE: for people\n'http://e.org/pool/g/gcc_4%3a14.deb' gcc_4%3a14_amd64.deb 12 SHA256:{sum}\n\n"
        );
        let expected = Archive {
            url: "http://e.org/pool/g/gcc_4%3a14.deb".into(),
            size: Some(12),
            sha256: Some(format!("sha256:{sum}").parse().unwrap()),
        };
        assert_eq!(Manager::Apt.archives(&of_apt).unwrap(), [expected]);
        let found = Manager::Apk.archives("fetch https://e.org/main/x86_64/APKINDEX.tar.gz\nhttps://e.org/main/x86_64/b3sum-1.5.1-r0.apk\n").unwrap();
        assert_eq!(found[0].url, "https://e.org/main/x86_64/b3sum-1.5.1-r0.apk");
        assert!(Manager::Apt.archives("").unwrap().is_empty());
        for (manager, wrong) in [
            (Manager::Apt, "'http://e.org/a.deb' a.deb 12 MD5Sum:00"),
            (Manager::Apt, "'file:///a.deb' a.deb 12 SHA256:"),
            (Manager::Apk, "file:///a.apk"),
            (Manager::Apk, "https://e.org/a\u{1b}.apk"),
        ] {
            assert!(manager.archives(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_stay_arguments() {
        let run = Manager::Apt.list(&["gcc".to_owned()]).unwrap().unwrap();
        assert_eq!(run.argv.last(), Some(&OsString::from("gcc")));
        assert!(run.rerun && run.installs.is_some());
        assert!(Manager::Apt.list(&["a;reboot".to_owned()]).is_err());
        assert_eq!(Manager::Dnf.list(&["gcc".to_owned()]).unwrap().map(|run| run.argv), None);
        assert!(Manager::Pacman.install_archives(&[]).is_none());
        let run = Manager::Apk.install_archives(&["a".to_owned()]).unwrap();
        assert_eq!((run.network, run.installs), (crate::Network::None, None));
    }
}
