//! Checks of the output path, made before any work is done.

use std::io;
use std::path::{Path, PathBuf};

use image::Format;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use sysext::ExtensionName;

/// A directory that can't take the output.
#[derive(Debug, thiserror::Error)]
#[error("output directory {path:?}: {source}")]
pub(crate) struct OutputPathError {
    pub path: PathBuf,
    /// What the kernel says.
    pub source: io::Error,
}

/// Whether a file can be made at `path`.
pub(super) fn check(path: &Path) -> Result<(), OutputPathError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    // "/." makes an error of what is no directory.
    accessat(CWD, dir.join("."), Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|e| OutputPathError { path: dir.to_owned(), source: e.into() })
}

/// What to do about a name under which hosts refuse the image. Its release file is for `name` alone, and one image that
/// doesn't fit keeps systemd-sysext from merging any. systemd-sysext(8), systemd.v(7).
pub(super) fn unmergeable(path: &Path, name: &ExtensionName, format: Format) -> Option<String> {
    // A directory is more often looked into than put in its place.
    if matches!(format, Format::Tar | Format::Dir) {
        return None;
    }
    let suffix = ".raw";
    let absolute = std::path::absolute(path).ok()?;
    let file = absolute.file_name()?.to_string_lossy().into_owned();
    let right = format!("{name}{suffix}");
    if file == right || file == format!("{name}.sysext.raw") {
        return None;
    }
    let of_versions =
        absolute.parent().and_then(Path::file_name).is_some_and(|dir| *dir == *format!("{right}.v"));
    if of_versions && file.starts_with(&format!("{name}_")) && file.ends_with(suffix) {
        return None;
    }
    let stem = file.strip_suffix(suffix).unwrap_or(&file);
    let rest =
        stem.strip_prefix(name.as_str()).and_then(|r| r.strip_prefix(['-', '_'])).filter(|r| !r.is_empty());
    let version = rest.unwrap_or("VERSION");
    Some(format!(
        "{file} can't be merged under this name, and hosts that find it merge no other either (\"No medium found\"): make it, \
         or a symlink to it, {right} there, or {right}.v/{name}_{version}{suffix} (systemd 256)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_under_which_hosts_refuse_an_image() {
        let say = |path: &str, format| unmergeable(Path::new(path), &"tool".parse().unwrap(), format);
        for (path, format) in [
            ("tool.raw", Format::Squashfs),
            ("/x/tool.raw", Format::Erofs),
            ("tool.sysext.raw", Format::Squashfs),
            ("/x/tool.raw.v/tool_1.2.3_x86-64.raw", Format::Squashfs),
            ("out", Format::Dir),
            ("tool-1.2.3.tar", Format::Tar),
        ] {
            assert_eq!(say(path, format), None, "{path}");
        }
        for (path, format, words) in [
            (
                "tool-1.2.3.raw",
                Format::Squashfs,
                ["symlink to it, tool.raw there", "tool.raw.v/tool_1.2.3.raw"],
            ),
            ("x/tool_1.raw", Format::Squashfs, ["tool-", "tool.raw.v/tool_1.raw"]),
            ("other.raw", Format::Ext4, ["other.raw can't", "tool.raw.v/tool_VERSION.raw"]),
            ("tool.img", Format::Squashfs, ["tool.img can't", "tool.raw there"]),
            ("tool.raw.v/tool-1.raw", Format::Squashfs, ["tool-1.raw can't", "tool.raw.v/tool_1.raw"]),
        ] {
            let said = say(path, format).unwrap();
            assert!(said.contains(words[1]), "{path}: {said}");
            assert!(said.contains(words[0]) || words[0] == "tool-", "{path}: {said}");
        }
    }

    #[test]
    fn directories_that_take_no_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for (path, error) in [
            ("new", ""),
            ("file", ""),
            ("none/new", "output directory \"DIR/none\": No such file or directory (os error 2)"),
            ("file/new", "output directory \"DIR/file\": Not a directory (os error 20)"),
        ] {
            let said = check(&dir.path().join(path)).map_err(|e| e.to_string()).err().unwrap_or_default();
            assert_eq!(said.replace(dir.path().to_str().unwrap(), "DIR"), error, "{path}");
        }
        check(Path::new("new")).unwrap();
    }
}
