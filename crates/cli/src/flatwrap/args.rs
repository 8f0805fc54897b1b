//! The command line as typed.

use clap::Parser;
use oci::ImageRef;
use sysext::ExtensionName;
use tree::TreePath;

use crate::args::{OtherArgs, PackageArgs, PathArg, SelectionArgs, extension_name};
use crate::convert::ConvertArgs;

use flatwrap::options::{Bind, Bwrap, Map, ParseError, Setting, Workdir, absolute, environment};

const EXAMPLES: &str = "\
Examples:
  flatwrap alpine:latest b3sum /usr/bin/b3sum /bin/busybox:/usr/bin/busybox
      Build b3sum.raw with all of Alpine and two entry points.
  flatwrap --etcmap chroot alpine:latest htop /usr/bin/htop
      Use Alpine's /etc, which has the terminal descriptions. --chroot-dir /etc/terminfo would use only that directory.
  flatwrap debian nginx /usr/sbin/nginx /usr/sbin/start-stop-daemon /usr/lib/systemd/system/nginx.service
      Include a daemon's unit.
  flatwrap --entrypoint docker.io/library/redis redis
      Make /usr/bin/redis start what the container would.
  flatwrap debian git package:git
      Include only the package git and all that it depends on, and entry points for its programs.
  flatwrap debian git --trace 'git clone /tmp/repository /tmp/copy' --trace-files testdata
      Include only the files that git opens while it clones testdata/repository, and an entry point for git.
  flatwrap --sign-verity key.pem --cert cert.pem alpine:latest b3sum /usr/bin/b3sum
      Build a signed disk image, which hosts with the certificate in /etc/verity.d can verify before merging it.

On the host, FLATWRAP_ROOT=DIR DIR/usr/bin/NAME starts a program of an extension that is unpacked in DIR (--format dir).
NOBWRAP=1 makes entry points avoid bwrap, FLATWRAP_BWRAP=1 makes them prefer it.

Exit status: 0 if the image was written (or, with --dry-run, would be), 1 on error, 2 on wrong usage.
Entry points exit with the status of their program, or 125 if the private root can't be set up.";

/// Build a systemd system extension from a whole container image, with entry points for its programs.
///
/// A program started through an entry point sees the image as its root directory, with the host's /dev, /proc, /run, /sys,
/// and /tmp and, by default, its /etc, /var, and home directories. Of the image, the host sees only the PATHs.
#[derive(Debug, Parser)]
#[command(name = "flatwrap", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Args {
    /// Container image to include
    #[arg(value_name = "IMAGE", required_unless_present_any = OtherArgs::IDS)]
    pub(super) image: Option<ImageRef>,

    /// Name of the extension
    #[arg(value_name = "NAME", value_parser = extension_name, required_unless_present_any = OtherArgs::IDS)]
    pub(super) name: Option<ExtensionName>,

    /// Programs, files, directories, units, or glob patterns in the image to make visible on the host; PATH:DEST installs one
    /// at another path. package:NAME includes only the installed package and all that it depends on instead of the whole image,
    /// and makes its programs visible unless other PATHs are given
    #[arg(value_name = "PATH", required_unless_present_any = OtherArgs::IDS.into_iter().chain(["entrypoint"]).chain(SelectionArgs::IDS))]
    pub(super) paths: Vec<PathArg>,

    /// Use the /etc of the host, of the image (chroot), or the image's with the host's users, names, and certificates, and the
    /// host's files and directories over those of the same name (merge)
    #[arg(long, value_name = "WHOSE", env = "ETCMAP", default_value = "merge", hide_env_values = true, help_heading = ROOT)]
    pub(super) etcmap: Map,

    /// Use the /var of the host or of the image (chroot)
    #[arg(long, value_name = "WHOSE", env = "VARMAP", default_value = "host", value_parser = host_or_image, hide_env_values = true, help_heading = ROOT)]
    pub(super) varmap: Map,

    /// Use the /home and /root of the host or of the image (chroot)
    #[arg(long, value_name = "WHOSE", env = "HOMEMAP", default_value = "host", value_parser = host_or_image, hide_env_values = true, help_heading = ROOT)]
    pub(super) homemap: Map,

    /// Use the image's DIR even below a directory of the host; repeatable
    #[arg(long, value_name = "DIR", value_parser = absolute, help_heading = ROOT)]
    pub(super) chroot_dir: Vec<TreePath>,

    /// Use the host's DIR, which has to exist; repeatable
    #[arg(long, value_name = "DIR", value_parser = absolute, help_heading = ROOT)]
    pub(super) host_dir: Vec<TreePath>,

    /// Mount SRC of the host at DST; repeatable. OPTIONS: ro, optional (no error if the host lacks it), and file (DST is a
    /// file)
    #[arg(long, value_name = "SRC[:DST][:OPTIONS]", help_heading = ROOT)]
    pub(super) bind: Vec<Bind>,

    /// Create an entry point /usr/bin/NAME that runs the image's Entrypoint and Cmd in its working directory
    #[arg(long, help_heading = ROOT)]
    pub(super) entrypoint: bool,

    /// Set an environment variable for the programs; NAME alone passes the caller's value through, in place of the image's;
    /// repeatable
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = environment, help_heading = ROOT)]
    pub(super) env: Vec<Setting>,

    /// Don't set the image's environment variables
    #[arg(long, help_heading = ROOT)]
    pub(super) no_image_env: bool,

    /// Run programs in this directory instead of the caller's, or "image" for the image's working directory
    #[arg(long, value_name = "DIR", help_heading = ROOT)]
    pub(super) workdir: Option<Workdir>,

    /// Use bwrap for users other than root: auto (if the kernel allows nothing else), always (if the host has it), or never
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = ROOT)]
    pub(super) bwrap: Bwrap,

    /// Allow in units what entry points need: capabilities, namespaces, and system calls that the units' sandboxing forbids
    #[arg(long, help_heading = ROOT)]
    pub(super) relax_units: bool,

    /// Directory for the image, in the extension [default: /usr/lib/flatwrap/NAME]
    #[arg(long, value_name = "DIR", value_parser = absolute, help_heading = FILES)]
    pub(super) sysroot: Option<TreePath>,

    /// Omit what programs don't need at run time: package caches, documentation, locales (see --locale), and what the
    /// host's directories hide
    #[arg(long, help_heading = FILES)]
    pub(super) prune: bool,

    /// Keep programs in /usr/sbin, /usr/local/bin, and /usr/local/sbin, which breaks hosts where these are symlinks (see
    /// --allow)
    #[arg(long, help_heading = FILES)]
    pub(super) keep_sbin: bool,

    #[command(flatten)]
    pub(super) packages: PackageArgs,

    #[command(flatten)]
    pub(super) common: ConvertArgs,
}

const ROOT: &str = "The private root";
const FILES: &str = "Files";

/// The directories with programs' state aren't merged: which of them are the host's is known only where they are.
fn host_or_image(text: &str) -> Result<Map, ParseError> {
    match text.parse()? {
        Map::Merge => Err(ParseError::Map(text.to_owned())),
        map => Ok(map),
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
