//! The command line as typed.

use clap::Parser;
use oci::ImageRef;
use sysext::{ExtensionName, Wanted};
use tree::TreePath;

use crate::args::OtherArgs;
use crate::convert::ConvertArgs;

use flatwrap::options::{Bind, Bwrap, Map, Setting, Workdir, absolute, environment};

const EXAMPLES: &str = "\
Examples:
  flatwrap alpine:latest b3sum /usr/bin/b3sum /bin/busybox:/usr/bin/busybox
      b3sum.raw with all of Alpine in it, and two entry points.
  flatwrap --etcmap chroot alpine:latest htop /usr/bin/htop
      Alpine's own /etc, for its terminal descriptions. --chroot-dir /etc/terminfo does it with the host's other files.
  flatwrap debian nginx /usr/sbin/nginx /usr/sbin/start-stop-daemon /usr/lib/systemd/system/nginx.service
      A daemon with its unit.
  flatwrap --entrypoint docker.io/library/redis redis
      /usr/bin/redis starts what the container would.
  flatwrap --sign-verity key.pem --cert cert.pem alpine:latest b3sum /usr/bin/b3sum
      A disk image that only hosts with the certificate in /etc/verity.d merge, if their image policy says so.

On the host: FLATWRAP_ROOT=DIR DIR/usr/bin/NAME starts a program of an extension that was unpacked to DIR (--format dir).
NOBWRAP=1 keeps entry points from bwrap, FLATWRAP_BWRAP=1 prefers it where the host has it.

Exit status: 0 if the image was written (or, with --dry-run, would be), 1 after an error, 2 for a wrong command line.
That of an entry point is its program's; 125 if the private root can't be made.";

/// Puts a whole container image into a systemd system extension, behind entry points.
///
/// A program started by an entry point sees the image as its root directory, with the host's /dev, /proc, /run, /sys,
/// /tmp and, unless said otherwise, /etc, /var and homes in it. The host sees nothing of the image but what PATHs name.
#[derive(Debug, Parser)]
#[command(name = "flatwrap", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Args {
    /// Where the files come from
    #[arg(value_name = "IMAGE", required_unless_present_any = OtherArgs::IDS)]
    pub(super) image: Option<ImageRef>,

    /// The extension's name
    #[arg(value_name = "NAME", required_unless_present_any = OtherArgs::IDS)]
    pub(super) name: Option<ExtensionName>,

    /// What shows on the host: programs, files, folders, units or patterns of the image; PATH:DEST gives another place
    #[arg(value_name = "PATH", required_unless_present_any = OtherArgs::IDS.into_iter().chain(["entrypoint"]))]
    pub(super) paths: Vec<Wanted>,

    /// Whose /etc programs see: host or chroot (the image's)
    #[arg(long, value_name = "WHOSE", env = "ETCMAP", default_value = "host", hide_env_values = true, help_heading = ROOT)]
    pub(super) etcmap: Map,

    /// Whose /var
    #[arg(long, value_name = "WHOSE", env = "VARMAP", default_value = "host", hide_env_values = true, help_heading = ROOT)]
    pub(super) varmap: Map,

    /// Whose /home and /root
    #[arg(long, value_name = "WHOSE", env = "HOMEMAP", default_value = "host", hide_env_values = true, help_heading = ROOT)]
    pub(super) homemap: Map,

    /// A directory that is the image's even below one of the host's; repeatable
    #[arg(long, value_name = "DIR", value_parser = absolute, help_heading = ROOT)]
    pub(super) chroot_dir: Vec<TreePath>,

    /// A directory that is the host's, and has to be there; repeatable
    #[arg(long, value_name = "DIR", value_parser = absolute, help_heading = ROOT)]
    pub(super) host_dir: Vec<TreePath>,

    /// Something of the host's at another place; OPTIONS are ro, optional (no error if the host lacks it) and file (the
    /// place is one); repeatable
    #[arg(long, value_name = "SRC[:DST][:OPTIONS]", help_heading = ROOT)]
    pub(super) bind: Vec<Bind>,

    /// Makes an entry point /usr/bin/NAME of what the image runs: its Entrypoint and Cmd, in its working directory
    #[arg(long, help_heading = ROOT)]
    pub(super) entrypoint: bool,

    /// Sets a variable for the programs; NAME alone leaves one that the image sets to the caller; repeatable
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = environment, help_heading = ROOT)]
    pub(super) env: Vec<Setting>,

    /// Leaves out the variables that the image sets for its programs
    #[arg(long, help_heading = ROOT)]
    pub(super) no_image_env: bool,

    /// Working directory of the programs, instead of the caller's: a directory, or "image" for the image's own
    #[arg(long, value_name = "DIR", help_heading = ROOT)]
    pub(super) workdir: Option<Workdir>,

    /// When others than root go by bwrap: auto (where the kernel leaves no other way), always (where the host has it)
    /// or never
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = ROOT)]
    pub(super) bwrap: Bwrap,

    /// Folder of the extension for the image [default: /usr/lib/flatwrap/NAME]
    #[arg(long, value_name = "DIR", value_parser = absolute, help_heading = FILES)]
    pub(super) sysroot: Option<TreePath>,

    /// Leaves out what running programs don't need: package caches, documents, manuals, locales, what the host's
    /// directories hide
    #[arg(long, help_heading = FILES)]
    pub(super) prune: bool,

    /// A locale that --prune leaves in: de, pt_BR; repeatable
    #[arg(long, value_name = "LOCALE", requires = "prune", help_heading = FILES)]
    pub(super) locale: Vec<String>,

    /// Leaves programs in /usr/sbin, /usr/local/bin and /usr/local/sbin, which not all hosts survive (see --allow)
    #[arg(long, help_heading = FILES)]
    pub(super) keep_sbin: bool,

    #[command(flatten)]
    pub(super) common: ConvertArgs,
}

const ROOT: &str = "The private root";
const FILES: &str = "Files";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
