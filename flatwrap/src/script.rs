//! The entry points: POSIX sh and util-linux, nothing else.
//!
//! Each entry point is four lines that source `enter`, which picks a way in:
//!
//! ```text
//! root   sh ─exec─ unshare --mount ─exec─ sh: mount --all ─exec─ unshare --root ─exec─ program
//! user   sh ─exec─ unshare --user --mount ─exec─ sh: mount --all ─exec─ unshare --user --root ─exec─ program
//! bwrap  sh ─exec─ bwrap ─ program
//! ```
//!
//! but for bwrap's, the program is the process that was started: same pid, same signals, its own exit status. All
//! mounts are made by one `mount --all`, since a process costs half a millisecond and a mount next to nothing.

use std::fmt::Write as _;

use tree::TreePath;

use crate::{
    command::Command,
    environment::{self, Variable},
    mounts::{Mount, Mounts, Source},
    options::{Bwrap, Options},
    quote::{fstab, sh},
};

/// Where the scripts are in the sysroot.
pub const DIR: &str = ".flatwrap";

/// What units with a user start, in [`DIR`].
pub(crate) const UNIT: &str = "unit";

/// Bytes of a path that came from the command line or was checked to be like one, as text.
fn text(path: &TreePath) -> String {
    String::from_utf8_lossy(&path.to_absolute()).into_owned()
}

/// The entry point for one program.
pub fn entry(options: &Options, program: &TreePath) -> String {
    let program = text(program);
    format!(
        "#!/bin/sh\n\
         # Made by flatwrap: {program} in the private root of {name}.\n\
         set -- {word} \"$@\"\n\
         # shellcheck source=/dev/null\n\
         . \"${{FLATWRAP_ROOT-}}\"{enter}\n",
        name = options.name,
        word = sh(&program),
        enter = enter_path(options),
    )
}

/// The entry point for what the image runs.
pub fn command(options: &Options, command: &Command) -> String {
    let words = |words: &[String]| words.iter().map(|w| format!(" {}", sh(w))).collect::<String>();
    let defaults = match command.defaults.is_empty() {
        true => String::new(),
        false => format!("[ $# -gt 0 ] || set --{}\n", words(&command.defaults)),
    };
    format!(
        "#!/bin/sh\n\
         # Made by flatwrap: what the image runs, in the private root of {name}.\n\
         {defaults}\
         set -- {word}{arguments} \"$@\"\n\
         # shellcheck source=/dev/null\n\
         . \"${{FLATWRAP_ROOT-}}\"{enter}\n",
        name = options.name,
        word = sh(&text(&command.program)),
        arguments = words(&command.arguments),
        enter = enter_path(options),
    )
}

/// Where the script is that the entry points source, as they name it.
fn enter_path(options: &Options) -> String {
    sh(&format!("{}/{DIR}/enter", text(&options.sysroot)))
}

/// What units start instead of an entry point, to become their user.
pub fn for_units(options: &Options) -> String {
    unit::script(&enter_path(options))
}

/// What the entry points source; `$1` is the program, the rest are its arguments. `becomes_users`: whether [`for_units`] sources it, too.
pub fn enter(options: &Options, mounts: &Mounts, variables: &[Variable], becomes_users: bool) -> String {
    let mut out = String::from(ENTER_HEAD);
    let _ = writeln!(out, "_flatwrap_dir=\"${{FLATWRAP_ROOT-}}\"{}", sh(&text(&options.sysroot)));
    out.push_str(ENTER_IDS);
    out.push_str(&environment::script(variables));
    out.push_str(ENTER_TRY);
    out.push_str(ENTER_ROOT);
    if becomes_users {
        out.push_str(unit::BECOME);
    }
    out.push_str(ENTER_ROOT_END);
    out.push_str(ENTER_OPEN);
    if options.bwrap != Bwrap::Never {
        out.push_str(match options.bwrap {
            Bwrap::Always => ENTER_BWRAP_ALWAYS,
            Bwrap::Auto | Bwrap::Never => ENTER_BWRAP_AUTO,
        });
        out.push_str("  exec bwrap --die-with-parent --ro-bind \"$_flatwrap_dir\" / \\\n");
        for mount in mounts.iter() {
            let _ = writeln!(out, "    {} \\", bwrap_bind(mount));
        }
        if let Some(dir) = &options.workdir {
            let _ = writeln!(out, "    --chdir {} \\", sh(&text(dir)));
        }
        out.push_str("    -- \"$@\"\nfi\n");
    }
    out.push_str(ENTER_USER);
    out
}

/// As bwrap takes a mount. Not `--bind`, which forbids devices: /dev/null couldn't be opened, and a program would see
/// something else than with unshare.
fn bwrap_bind(mount: &Mount) -> String {
    let option = match (mount.read_only, mount.required) {
        (true, true) => "--ro-bind",
        (true, false) => "--ro-bind-try",
        (false, true) => "--dev-bind",
        (false, false) => "--dev-bind-try",
    };
    let source = match &mount.source {
        Source::Host(path) => sh(&text(path)),
        Source::Image(path) => format!("\"$_flatwrap_dir\"{}", sh(&text(path))),
    };
    format!("{option} {source} {}", sh(&text(&mount.target)))
}

const ENTER_HEAD: &str = r#"# shellcheck shell=sh
# Made by flatwrap. The entry points source it with the program as $1 and its arguments behind.
"#;

const ENTER_IDS: &str = r#"case $_flatwrap_dir in
/*) ;;
*) _flatwrap_dir=$PWD/$_flatwrap_dir ;;
esac
# id(1) would cost as much as all of this.
_flatwrap_uid='' _flatwrap_gid=''
while read -r _flatwrap_key _ _flatwrap_id _; do
  case $_flatwrap_key in
  Uid:) _flatwrap_uid=$_flatwrap_id ;;
  Gid:)
    _flatwrap_gid=$_flatwrap_id
    break
    ;;
  esac
done </proc/self/status
_flatwrap_unshare=/usr/bin/unshare
[ -x "$_flatwrap_unshare" ] || _flatwrap_unshare=unshare
"#;

/// unshare(1) becomes the program if it works, so that its failure can't be told from the program's afterwards. Where the kernel
/// might refuse, it is tried before: the process costs half a millisecond.
const ENTER_TRY: &str = r#"_flatwrap_refused() {
  echo "${0##*/}: the private root can't be made: $*" >&2
  exit 125
}
# Tries what else becomes the program, where there may be limits: in containers, and in other user namespaces than the first.
_flatwrap_try() {
  read -r _flatwrap_key _flatwrap_id _ </proc/self/uid_map
  [ "$_flatwrap_key $_flatwrap_id" = '0 0' ] && [ ! -e /run/systemd/container ] && [ ! -e /run/.containerenv ] &&
    [ ! -e /.dockerenv ] && [ "${_flatwrap_open-yes}" = yes ] && return
  _flatwrap_key=$("$_flatwrap_unshare" "$@" -- /bin/sh -c : 2>&1) || _flatwrap_refused "$_flatwrap_key"
}
"#;

const ENTER_ROOT: &str = r#"if [ "$_flatwrap_uid" = 0 ]; then
  # shellcheck source=/dev/null
  [ -n "${FLATWRAP_ROOT-}" ] || [ ! -e "$_flatwrap_dir/.flatwrap/state" ] || . "$_flatwrap_dir/.flatwrap/state"
  _flatwrap_try --mount
"#;

const ENTER_ROOT_END: &str = r#"  exec "$_flatwrap_unshare" --mount --propagation slave -- "$_flatwrap_dir/.flatwrap/as-root" "$@"
fi
"#;

const ENTER_BWRAP_ALWAYS: &str = r#"if [ -z "${NOBWRAP-}" ] && command -v bwrap >/dev/null; then
"#;

// user_namespaces(7); Debian's old switch; Ubuntu's, which spares programs with an AppArmor profile, as bwrap has one.
const ENTER_OPEN: &str = r#"# Whether the kernel lets everybody make user namespaces.
_flatwrap_open=yes
for _flatwrap_key in kernel/apparmor_restrict_unprivileged_userns=1 kernel/unprivileged_userns_clone=0 \
  user/max_user_namespaces=0; do
  [ -r "/proc/sys/${_flatwrap_key%=*}" ] || continue
  read -r _flatwrap_id <"/proc/sys/${_flatwrap_key%=*}"
  [ "$_flatwrap_id" = "${_flatwrap_key#*=}" ] && _flatwrap_open=$_flatwrap_key
done
"#;

const ENTER_BWRAP_AUTO: &str = r#"if [ -z "${NOBWRAP-}" ] && { [ "$_flatwrap_open" != yes ] || [ -n "${FLATWRAP_BWRAP-}" ]; } &&
  command -v bwrap >/dev/null; then
"#;

const ENTER_USER: &str = r#"case $_flatwrap_open in
user/* | kernel/unprivileged*)
  _flatwrap_refused "user namespaces are forbidden on this machine: /proc/sys/${_flatwrap_open%=*} is ${_flatwrap_open#*=}"
  ;;
esac
_flatwrap_try --user --map-root-user --mount
exec "$_flatwrap_unshare" --user --map-root-user --mount --propagation slave -- \
  "$_flatwrap_dir/.flatwrap/as-user" "$_flatwrap_uid" "$_flatwrap_gid" "$@"
"#;

/// Who runs a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Root, in a mount namespace.
    Root,
    /// Somebody else, in a user namespace of their own where they are root for the mounts.
    User,
    /// Root, who becomes the user of a unit: with util-linux's setpriv of the image, if it has that.
    Unit {
        /// Whether the image has it.
        setpriv: bool,
    },
}

/// What runs inside the new namespaces: mounts, then becomes the program.
pub fn inside(options: &Options, role: Role) -> String {
    let mut out = String::from(
        "#!/bin/sh\n# Made by flatwrap. Runs in the new namespaces, as the process that becomes the program.\n",
    );
    match role {
        Role::Root => {}
        Role::User => out.push_str("_flatwrap_uid=$1 _flatwrap_gid=$2\nshift 2\n"),
        Role::Unit { .. } => {
            out.push_str(
                "_flatwrap_uid=$1 _flatwrap_gid=$2 _flatwrap_groups=$3 _flatwrap_caps=$4\nshift 4\n",
            );
        }
    }
    out.push_str(INSIDE_MOUNT);
    out.push_str(MOUNT_IN_USER_NAMESPACE);
    out.push_str(match role {
        Role::Root | Role::Unit { .. } => MOUNT_AS_ROOT,
        Role::User => MOUNT_AS_USER,
    });
    match &options.workdir {
        Some(dir) => _ = writeln!(out, "_flatwrap_wd={}", sh(&text(dir))),
        None => out.push_str(INSIDE_WORKDIR),
    }
    out.push_str(INSIDE_RESTORE);
    out.push_str(match role {
        // The last line of fstab.root put the private root over the real one; `/..` is how a path gets there. So the
        // program isn't chrooted, and may make user namespaces itself.
        Role::Root => "exec \"$_flatwrap_unshare\" --root /.. --wd \"$_flatwrap_wd\" -- \"$@\"\n",
        Role::User => {
            "exec \"$_flatwrap_unshare\" --user --map-user=\"$_flatwrap_uid\" --map-group=\"$_flatwrap_gid\" \\\n  \
             --root \"$_flatwrap_root\" --wd \"$_flatwrap_wd\" -- \"$@\"\n"
        }
        Role::Unit { setpriv: true } => unit::INSIDE,
        Role::Unit { setpriv: false } => unit::INSIDE_WITHOUT_SETPRIV,
    });
    out
}

const INSIDE_MOUNT: &str = r#"_flatwrap_wd=$PWD
[ "${OLDPWD+set}" ] && _flatwrap_old=$OLDPWD
cd -P . 2>/dev/null || : # a directory that is gone or forbidden
_flatwrap_real=$PWD
cd -P -- "${0%/*}/.." || exit 125
_flatwrap_root=$PWD/.flatwrap/root
_flatwrap_unshare=/usr/bin/unshare
[ -x "$_flatwrap_unshare" ] || _flatwrap_unshare=unshare
_flatwrap_mount=/usr/bin/mount
[ -x "$_flatwrap_mount" ] || _flatwrap_mount=mount
"#;

/// What runs a program for somebody else ends with 125 if it can't: env(1), timeout(1), docker. Root can be in a user namespace, too:
/// in containers that aren't root's.
const MOUNT_AS_ROOT: &str = r#"read -r _flatwrap_key _flatwrap_id _flatwrap_count </proc/self/uid_map
if [ "$_flatwrap_key $_flatwrap_id $_flatwrap_count" = '0 0 4294967295' ]; then
  "$_flatwrap_mount" --all --fstab .flatwrap/fstab.root || exit 125
else
  _flatwrap_mount_all
  "$_flatwrap_mount" --rbind "$_flatwrap_root" /. || exit 125
fi
"#;

const MOUNT_AS_USER: &str = "_flatwrap_mount_all\n";

const MOUNT_IN_USER_NAMESPACE: &str = r#"# In a user namespace, mounts keep flags that they had before (nosuid, nodev, noexec). mount(8) before 2.39 takes off what it isn't given when
# it makes a bind mount read-only, and fails. The second table has these flags. What is mounted already would stay as it is.
_flatwrap_mount_all() {
  "$_flatwrap_mount" --all --fstab .flatwrap/fstab.user 2>/dev/null && return
  _flatwrap_umount=/usr/bin/umount
  [ -x "$_flatwrap_umount" ] || _flatwrap_umount=umount
  "$_flatwrap_umount" --lazy "$_flatwrap_root" 2>/dev/null
  "$_flatwrap_mount" --all --fstab .flatwrap/fstab.user.nosuid || exit 125
}
"#;

const INSIDE_WORKDIR: &str = r#"# The first that is a real directory inside. One behind a symlink can't be told from here: the symlink might be absolute.
for _flatwrap_wd in "$_flatwrap_wd" "$_flatwrap_real" "${HOME-}" /; do
  case $_flatwrap_wd in /*) ;; *) continue ;; esac
  cd -P -- "$_flatwrap_root$_flatwrap_wd" 2>/dev/null &&
    [ "$PWD" = "$_flatwrap_root${_flatwrap_wd%/}" ] && break
done
"#;

const INSIDE_RESTORE: &str = r#"PWD=$_flatwrap_wd
if [ "${_flatwrap_old+set}" ]; then OLDPWD=$_flatwrap_old; else unset OLDPWD; fi
"#;

/// The table of mounts. Paths are relative to the sysroot where they are in it, so that an extension can be tried
/// where it isn't merged.
///
/// With `nosuid`, what is read-only gets the flags that mounts of the host may have, too; `noexec` where nobody keeps programs.
pub fn table(mounts: &Mounts, role: Role, nosuid: bool) -> String {
    let flags = if nosuid { ",nosuid,nodev" } else { "" };
    let mut out = format!("# Made by flatwrap.\n. ./{DIR}/root none bind,ro{flags} 0 0\n");
    for mount in mounts.iter() {
        let source = match &mount.source {
            Source::Host(path) => text(path),
            Source::Image(path) => format!(".{}", text(path)),
        };
        let _ = writeln!(
            out,
            "{} {} none rbind{}{}{}{} 0 0",
            fstab(&source),
            fstab(&format!("./{DIR}/root{}", text(&mount.target))),
            if mount.read_only { ",ro" } else { "" },
            if mount.read_only { flags } else { "" },
            if nosuid && mount.is_data() { ",noexec" } else { "" },
            if mount.required { "" } else { ",nofail" },
        );
    }
    if role != Role::User {
        // Not "/", which mount(8) skips in a table.
        let _ = writeln!(out, "./{DIR}/root /. none rbind 0 0");
    }
    out
}

mod unit;

#[cfg(test)]
mod tests;
