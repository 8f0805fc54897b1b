//! The command line as typed.

use clap::{Parser, ValueEnum};
use oci::ImageRef;
use sysext::ExtensionName;
use tree::TreePath;

use crate::args::{OtherArgs, PackageArgs, PathArg, SelectionArgs, extension_name};
use crate::convert::ConvertArgs;

use elf::closure::{DlopenPolicy, ExtraLib};

const EXAMPLES: &str = "\
Examples:
  flix alpine:latest b3sum /usr/bin/b3sum
      Build b3sum.raw with b3sum and its libraries. The package b3sum is installed in the image first, since it's missing.
  flix debian nginx /usr/sbin/nginx /usr/sbin/start-stop-daemon /usr/lib/systemd/system/nginx.service
      Include a daemon's unit.
  flix debian:bookworm git package:git
      Include all that the package git needs at run time: its programs, their data, and the packages that it depends on.
  flix alpine:latest bb /bin/busybox:/usr/bin/busybox
      Install a file at another path.
  flix debian git /usr/bin/git --trace 'git clone /tmp/repository /tmp/copy' --trace-files testdata
      Add the files that git opens while it clones testdata/repository.
  flix --explain --dry-run dir:/ tools '/usr/bin/git*'
      Show what would be included from this machine's own root file system, and why.
  flix --sign-verity key.pem --cert cert.pem alpine:latest b3sum /usr/bin/b3sum
      Build a signed disk image, which hosts with the certificate in /etc/verity.d can verify before merging it.
  flix --arch arm64 --run 'apt-get update && apt-get install -y vim' debian:bookworm vim /usr/bin/vim.basic

IMAGE is an image in a registry (alpine, ghcr.io/a/b:tag, …@sha256:…), oci:DIR, oci-archive:FILE, docker-archive:FILE,
tar:FILE, dir:PATH, or a path that starts with /, ./ or ../
To choose one of several images in a layout or archive, add its name or position: oci:DIR:NAME, oci:DIR:@0,
docker-archive:FILE:NAME:TAG. To read an image from Docker or Podman: docker save NAME | flix docker-archive:/dev/stdin …

Exit status: 0 if the image was written (or, with --dry-run, would be), 1 on error, 2 on wrong usage.";

/// Build a systemd system extension from programs of a container image.
///
/// The programs run on any host: their libraries, including the C library and its loader, are bundled in a private
/// directory, and none of the host's libraries are used.
#[derive(Debug, Parser)]
#[command(name = "flix", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Args {
    /// Container image to take the files from
    #[arg(value_name = "IMAGE", required_unless_present_any = OtherArgs::IDS)]
    pub(super) image: Option<ImageRef>,

    /// Name of the extension
    #[arg(value_name = "NAME", value_parser = extension_name, required_unless_present_any = OtherArgs::IDS)]
    pub(super) name: Option<ExtensionName>,

    /// Programs, files, directories, or glob patterns in the image; PATH:DEST installs one at another path. package:NAME
    /// includes an installed package, with what it depends on
    #[arg(value_name = "PATH", required_unless_present_any = OtherArgs::IDS.into_iter().chain(SelectionArgs::IDS))]
    pub(super) paths: Vec<PathArg>,

    /// Private directory for libraries, in the extension [default: /usr/lib/flix/NAME]
    #[arg(long, value_name = "DIR", help_heading = LIBRARIES)]
    pub(super) sysroot: Option<TreePath>,

    /// Include a library that programs load at run time: a file or directory of the image, or a library name; repeatable.
    /// The variable EXTRALIBS lists more, separated by whitespace or colons
    #[arg(long, value_name = "PATH|NAME", help_heading = LIBRARIES)]
    pub(super) extra_lib: Vec<ExtraLib>,

    /// Include libraries that programs declare as loaded with dlopen
    #[arg(long, value_name = "WHICH", default_value = "recommended", help_heading = LIBRARIES)]
    pub(super) dlopen: Dlopen,

    /// Include glibc's character set converters, for programs that use iconv with encodings other than UTF-8 and ASCII
    #[arg(long, help_heading = LIBRARIES)]
    pub(super) charsets: bool,

    /// Continue if the image lacks a library
    #[arg(long, help_heading = LIBRARIES)]
    pub(super) allow_missing: bool,

    /// Keep programs in /usr/sbin, /usr/local/bin, and /usr/local/sbin, which breaks hosts where these are symlinks (see
    /// --allow)
    #[arg(long, help_heading = LIBRARIES)]
    pub(super) keep_sbin: bool,

    /// Let scripts use the host's interpreters
    #[arg(long, help_heading = LIBRARIES)]
    pub(super) host_interpreters: bool,

    /// Fetch only the files that are needed, from layers in eStargz and zstd:chunked: these have a table of contents, which is relied on.
    /// All else is fetched as a whole, and so is an image that commands run in
    #[arg(long, help_heading = "Image source")]
    pub(super) partial: bool,

    #[command(flatten)]
    pub(super) packages: PackageArgs,

    #[command(flatten)]
    pub(super) common: ConvertArgs,

    /// Print the size of each file and why it is included
    #[arg(long, help_heading = "Reports")]
    pub(super) explain: bool,
}

const LIBRARIES: &str = "Files and libraries";

/// `--dlopen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dlopen {
    /// No libraries
    None,
    /// Libraries that a program requires
    Required,
    /// Also those that it recommends
    Recommended,
    /// Also those that it suggests
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
