//! What a machine gets over its image, a Debian root or a Flatcar disk alike: units, and what they are to do.

use sysext::ExtensionName;
use tree::Arch;

/// Encloses what belongs to the command's output.
pub(super) const BEGIN: &[u8] = b"\x1ebakery: begin\x1e";
/// As [`BEGIN`]; behind it is why the command isn't run.
pub(super) const REFUSED: &[u8] = b"\x1ebakery: refused\x1e";
/// As [`BEGIN`]; the status and another `\x1e` follow.
pub(super) const END: &[u8] = b"\x1ebakery: end ";

/// A file or a link for the machine's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestFile {
    /// A file with this text, mode 0644.
    Text(String),
    /// A symbolic link.
    Link(&'static str),
}

/// Runs when all else is up; the machine is switched off behind it. The console is lent to the command or shell.
const UNIT: &str = "\
[Unit]
Description=Bakery
After=multi-user.target network-online.target systemd-sysext.service
Wants=network-online.target

[Service]
Type=oneshot
Environment=HOME=/root
WorkingDirectory=/
";

/// Which extensions aren't merged, and why, as far as systemd says.
const UNMERGED: &str = r#"
unmerged=
status=$(systemd-sysext status --no-pager --json=short 2>/dev/null)
while read -r name; do
    case $status in
    *"\"$name\""*) ;;
    *) unmerged="$unmerged $name" ;;
    esac
done < /etc/bakery/extensions
explain() {
    echo "not merged:$unmerged; systemd-sysext says:"
    journalctl --boot --no-pager --quiet --output=cat _SYSTEMD_UNIT=systemd-sysext.service | tail -n 5
}
"#;

/// Kernel messages would come between the command's lines.
const COMMAND: &str = r#"
echo 1 > /proc/sys/kernel/printk
export TERM=dumb SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat
cd /root
if [ -n "$unmerged" ]; then
    printf '\036bakery: refused\036'
    explain
    printf '\036bakery: end 1\036'
    exit 1
fi
printf '\036bakery: begin\036'
sh /etc/bakery/command
printf '\036bakery: end %s\036' "$?"
"#;

const SHELL: &str = r#"
echo 1 > /proc/sys/kernel/printk
export TERM=linux
cd /root
[ -z "$unmerged" ] || explain
echo "Leaving this shell switches the machine off; so does Ctrl-A X."
exec bash -l
"#;

/// The name of the machine's console.
pub fn console(arch: Arch) -> &'static str {
    if arch == Arch::Arm64 { "ttyAMA0" } else { "ttyS0" }
}

/// Paths and what is there.
pub fn guest_files<'a>(
    arch: Arch,
    extensions: impl IntoIterator<Item = &'a ExtensionName>,
    command: Option<&str>,
) -> Vec<(String, GuestFile)> {
    let console = console(arch);
    let units = "/etc/systemd/system";
    let names: String = extensions.into_iter().map(|name| format!("{name}\n")).collect();
    let ends = "ExecStart=/bin/sh /etc/bakery/start\nExecStopPost=systemctl poweroff --force --force\n";
    let unit = match command {
        Some(_) => format!(
            "{UNIT}StandardInput=null\nStandardOutput=file:/dev/{console}\nStandardError=inherit\n{ends}"
        ),
        // A terminal of its own: job control and Ctrl-C work.
        None => format!(
            "{UNIT}StandardInput=tty-force\nStandardOutput=tty\nStandardError=inherit\nTTYPath=/dev/{console}\nTTYReset=yes\n{ends}"
        ),
    };
    let start = [UNMERGED, if command.is_some() { COMMAND } else { SHELL }].concat();
    let mut guest_files = vec![
        (format!("{units}/bakery-boot.service"), GuestFile::Text(unit)),
        (
            format!("{units}/sysinit.target.wants/systemd-sysext.service"),
            GuestFile::Link("/usr/lib/systemd/system/systemd-sysext.service"),
        ),
        (
            format!("{units}/multi-user.target.wants/bakery-boot.service"),
            GuestFile::Link("../bakery-boot.service"),
        ),
        // It would fight for the console; and waiting for the terminal's device can take 90 seconds.
        (format!("{units}/serial-getty@{console}.service"), GuestFile::Link("/dev/null")),
        ("/etc/bakery/start".into(), GuestFile::Text(start)),
        ("/etc/bakery/extensions".into(), GuestFile::Text(names)),
    ];
    if let Some(command) = command {
        guest_files.push(("/etc/bakery/command".into(), GuestFile::Text(format!("{command}\n"))));
    }
    guest_files
}
