//! The command line as typed.

use clap::{Parser, ValueEnum};
use oci::ImageRef;
use sysext::ExtensionName;
use tree::TreePath;

use crate::args::OtherArgs;
use crate::convert::ConvertArgs;

use elf::closure::{DlopenPolicy, ExtraLib};
use sysext::Wanted;

const EXAMPLES: &str = "\
Examples:
  flix alpine:latest b3sum /usr/bin/b3sum
      b3sum.raw with b3sum and its libraries. Alpine has no b3sum, so its package is installed first.
  flix debian nginx /usr/sbin/nginx /usr/sbin/start-stop-daemon /usr/lib/systemd/system/nginx.service
      A daemon with its unit.
  flix alpine:latest bb /bin/busybox:/usr/bin/busybox
      Another place for a file.
  flix --explain --dry-run dir:/ tools '/usr/bin/git*'
      What would come along from this machine's own root, and why.
  flix --sign-verity key.pem --cert cert.pem alpine:latest b3sum /usr/bin/b3sum
      A disk image that only hosts with the certificate in /etc/verity.d merge, if their image policy says so.
  flix --arch arm64 --run 'apt-get update && apt-get install -y vim' debian:bookworm vim /usr/bin/vim.basic

IMAGE is a registry's image by docker's rules (alpine, ghcr.io/a/b:tag, …@sha256:…), or oci:DIR, oci-archive:FILE,
docker-archive:FILE, tar:FILE, dir:PATH, or a path that starts with / or ./ or ../
One of several images in a layout or an archive: oci:DIR:NAME, docker-archive:FILE:NAME:TAG, or by its position, oci:DIR:@0.
What docker or podman has comes through a pipe: docker save NAME | flix docker-archive:/dev/stdin …

Exit status: 0 if the image was written (or, with --dry-run, would be), 1 after an error, 2 for a wrong command line.";

/// Takes a program and its libraries out of a container image and makes a systemd system extension of them.
///
/// The programs run on any host: their libraries, down to the C library and its loader, come along in a folder of their
/// own, and nothing of the host's is used.
#[derive(Debug, Parser)]
#[command(name = "flix", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Args {
    /// Where the files come from
    #[arg(value_name = "IMAGE", required_unless_present_any = OtherArgs::IDS)]
    pub(super) image: Option<ImageRef>,

    /// The extension's name
    #[arg(value_name = "NAME", required_unless_present_any = OtherArgs::IDS)]
    pub(super) name: Option<ExtensionName>,

    /// Files, folders or patterns of the image; PATH:DEST gives it another place
    #[arg(value_name = "PATH", required_unless_present_any = OtherArgs::IDS)]
    pub(super) paths: Vec<Wanted>,

    /// Folder of the extension for libraries [default: /usr/lib/flix/NAME]
    #[arg(long, value_name = "DIR", help_heading = LIBRARIES)]
    pub(super) sysroot: Option<TreePath>,

    /// Takes along a library that the programs load by themselves: a path or folder of the image, or a name; repeatable.
    /// EXTRALIBS names more, separated by spaces, tabs, newlines or colons
    #[arg(long, value_name = "PATH|NAME", help_heading = LIBRARIES)]
    pub(super) extra_lib: Vec<ExtraLib>,

    /// Which of the libraries that programs declare to load by dlopen come along
    #[arg(long, value_name = "WHICH", default_value = "recommended", help_heading = LIBRARIES)]
    pub(super) dlopen: Dlopen,

    /// Takes along glibc's character sets, for programs that convert other ones than UTF-8 and ASCII by iconv
    #[arg(long, help_heading = LIBRARIES)]
    pub(super) charsets: bool,

    /// Goes on if the image lacks a library
    #[arg(long, help_heading = LIBRARIES)]
    pub(super) allow_missing: bool,

    /// Leaves programs in /usr/sbin, /usr/local/bin and /usr/local/sbin, which not all hosts survive (see --allow)
    #[arg(long, help_heading = LIBRARIES)]
    pub(super) keep_sbin: bool,

    /// Leaves scripts to interpreters of the host
    #[arg(long, help_heading = LIBRARIES)]
    pub(super) host_interpreters: bool,

    #[command(flatten)]
    pub(super) common: ConvertArgs,

    /// Prints why each file comes along, and how large it is
    #[arg(long, help_heading = "Reports")]
    pub(super) explain: bool,
}

const LIBRARIES: &str = "Files and libraries";

/// `--dlopen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dlopen {
    /// Nothing
    None,
    /// What a program can't do without
    Required,
    /// Also what its author recommends
    Recommended,
    /// Also what its author suggests
    All,
}

impl From<Dlopen> for DlopenPolicy {
    fn from(d: Dlopen) -> Self {
        match d {
            Dlopen::None => DlopenPolicy::None,
            Dlopen::Required => DlopenPolicy::Required,
            Dlopen::Recommended => DlopenPolicy::Recommended,
            Dlopen::All => DlopenPolicy::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
