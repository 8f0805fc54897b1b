//! The release file, which says on which hosts an extension merges.

use std::fmt::Write as _;

use tree::Arch;

/// The fields of `extension-release.NAME`. os-release(5), UAPI.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `ID=`: the host's, or `_any` for all hosts.
    pub id: String,
    /// `SYSEXT_LEVEL=`: has to be the host's, if that has one.
    pub sysext_level: Option<String>,
    /// `VERSION_ID=`: has to be the host's, if levels don't decide.
    pub version_id: Option<String>,
    /// `ARCHITECTURE=`: has to be the host's.
    pub architecture: Option<Arch>,
    /// `EXTENSION_RELOAD_MANAGER=1`: the service manager is reloaded after merging, so that it sees new units. systemd 255.
    pub reload_manager: bool,
    /// `EXTENSION_RESTART_UNITS=`: units that are restarted, or started, after merging, refreshing and unmerging. systemd PR
    /// 42368 (2026); others ignore it.
    pub restart_units: Vec<String>,
    /// `EXTENSION_RELOAD_OR_RESTART_UNITS=`: the same for units that may be reloaded instead.
    pub reload_or_restart_units: Vec<String>,
    /// `SYSEXT_SCOPE=`: words of `system`, `portable`, `initrd`; systemd's default is `system portable`.
    pub scope: Option<String>,
}

impl Default for Release {
    fn default() -> Self {
        Release {
            id: "_any".to_owned(),
            sysext_level: None,
            version_id: None,
            architecture: None,
            reload_manager: false,
            restart_units: Vec::new(),
            reload_or_restart_units: Vec::new(),
            scope: None,
        }
    }
}

/// A value that a release file can't take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}={value:?} is invalid, expected {expected}")]
pub struct ReleaseError {
    /// The field: `ID`.
    pub field: &'static str,
    /// What it was to be.
    pub value: String,
    /// What it may be.
    pub expected: &'static str,
}

impl Release {
    /// Whether every host's ID matches.
    pub fn is_any(&self) -> bool {
        self.id == "_any"
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The first field that isn't of the form that os-release(5) asks for.
    pub fn check(&self) -> Result<(), ReleaseError> {
        let lower = |s: &str| {
            !s.is_empty()
                && s.bytes().all(|b| {
                    b.is_ascii_lowercase()
                        || b.is_ascii_digit()
                        || matches!(b, b'.' | b'_' | b'-' | b'+' | b'~' | b'^')
                })
        };
        let fields = [
            ("ID", Some(&self.id)),
            ("SYSEXT_LEVEL", self.sysext_level.as_ref()),
            ("VERSION_ID", self.version_id.as_ref()),
        ];
        for (field, value) in fields {
            if let Some(value) = value.filter(|v| !lower(v)) {
                let expected = "lower-case letters, digits and any of \"._-+~^\"";
                return Err(ReleaseError { field, value: value.clone(), expected });
            }
        }
        let is_unit = |unit: &str| {
            unit.contains('.') && unit.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
        };
        for (field, units) in self.units() {
            if let Some(unit) = units.iter().find(|unit| !is_unit(unit)) {
                let expected = "names of units";
                return Err(ReleaseError { field, value: unit.clone(), expected });
            }
        }
        if let Some(scope) = &self.scope {
            let known = |w: &str| matches!(w, "system" | "portable" | "initrd");
            if scope.split_whitespace().next().is_none() || !scope.split_whitespace().all(known) {
                let expected = "words of \"system\", \"portable\" and \"initrd\"";
                return Err(ReleaseError { field: "SYSEXT_SCOPE", value: scope.clone(), expected });
            }
        }
        Ok(())
    }

    fn units(&self) -> [(&'static str, &[String]); 2] {
        [
            ("EXTENSION_RESTART_UNITS", &self.restart_units),
            ("EXTENSION_RELOAD_OR_RESTART_UNITS", &self.reload_or_restart_units),
        ]
    }

    /// The text of the release file.
    pub fn text(&self) -> String {
        let mut out = format!("ID={}\n", self.id);
        if let Some(version) = &self.version_id {
            let _ = writeln!(out, "VERSION_ID={version}");
        }
        if let Some(level) = &self.sysext_level {
            let _ = writeln!(out, "SYSEXT_LEVEL={level}");
        }
        if let Some(scope) = &self.scope {
            let words: Vec<&str> = scope.split_whitespace().collect();
            let _ = writeln!(out, "SYSEXT_SCOPE=\"{}\"", words.join(" "));
        }
        if let Some(arch) = self.architecture {
            let _ = writeln!(out, "ARCHITECTURE={}", arch.systemd());
        }
        if self.reload_manager {
            out.push_str("EXTENSION_RELOAD_MANAGER=1\n");
        }
        for (field, units) in self.units().into_iter().filter(|(_, units)| !units.is_empty()) {
            let _ = writeln!(out, "{field}=\"{}\"", units.join(" "));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_what_is_set() {
        assert_eq!(Release::default().text(), "ID=_any\n");
        let release = Release {
            id: "flatcar".into(),
            sysext_level: Some("1.0".into()),
            version_id: Some("4000.1.2".into()),
            architecture: Some(Arch::X86_64),
            reload_manager: true,
            restart_units: vec!["a.service".into(), "b@1.service".into()],
            reload_or_restart_units: vec!["c.socket".into()],
            scope: Some(" system  initrd".into()),
        };
        release.check().unwrap();
        assert_eq!(
            release.text(),
            "ID=flatcar\nVERSION_ID=4000.1.2\nSYSEXT_LEVEL=1.0\nSYSEXT_SCOPE=\"system initrd\"\n\
             ARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\nEXTENSION_RESTART_UNITS=\"a.service b@1.service\"\n\
             EXTENSION_RELOAD_OR_RESTART_UNITS=\"c.socket\"\n"
        );
    }

    #[test]
    fn values_that_would_break_the_file_are_refused() {
        type Change = fn(&mut Release);
        let table: [(&str, Change); 6] = [
            ("EXTENSION_RESTART_UNITS=\"a b\" is", |r| r.restart_units = vec!["a b".into()]),
            ("ID=\"Flat car\" is", |r| r.id = "Flat car".into()),
            ("ID=\"\" is", |r| r.id = String::new()),
            ("SYSEXT_LEVEL=\"1\\nID=x\" is", |r| r.sysext_level = Some("1\nID=x".into())),
            ("VERSION_ID=\"a b\" is", |r| r.version_id = Some("a b".into())),
            ("SYSEXT_SCOPE=\"sistem\" is", |r| r.scope = Some("sistem".into())),
        ];
        for (start, change) in table {
            let mut release = Release::default();
            change(&mut release);
            let error = release.check().unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }
}
