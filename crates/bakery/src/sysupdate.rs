//! Configuration of systemd-sysupdate for an extension. sysupdate.d(5).

/// The catalogue of the bakery, unless another is named. Each extension has a directory there.
pub(crate) const BASE_URL: &str = "https://extensions.flatcar.org/extensions/";

/// Images that are kept: the one in use, and those before.
const INSTANCES: u32 = 3;

/// Where a machine keeps images, and under which name systemd-sysext finds the current one.
pub(crate) const STORE: &str = "/opt/extensions";
pub(crate) const MERGED: &str = "/etc/extensions";

/// How an extension is kept up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub name: String,
    /// Where images and their SHA256SUMS are, with the slash at the end.
    pub base_url: String,
    /// Nothing but this series: all versions, unless given.
    pub stream: Option<Stream>,
    /// Whether SHA256SUMS has a signature that the machine checks.
    pub verify: bool,
}

/// The versions of one minor release: `v1.32` of `v1.32.2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stream {
    /// Major and minor number, with the `v` that versions have, if any: `v1.32`.
    beginning: String,
}

impl Stream {
    /// The minor release that a version belongs to; none if it has no two numbers with something behind them.
    pub(crate) fn of(version: &str) -> Option<Stream> {
        let numbers = version.strip_prefix('v').unwrap_or(version);
        let mut parts = numbers.splitn(3, '.');
        let (major, minor, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !number(major) || !number(minor) || rest.is_empty() {
            return None;
        }
        let len = version.len() - numbers.len() + major.len() + 1 + minor.len();
        Some(Stream { beginning: version.get(..len)?.to_owned() })
    }

    /// Stands for any in documentation: `vX.Y`.
    pub(crate) fn placeholder() -> Stream {
        Stream { beginning: "vX.Y".to_owned() }
    }

    /// What its versions begin with.
    pub(crate) fn beginning(&self) -> &str {
        &self.beginning
    }

    /// `vX.Y`, with the letter in any case: what configuration files are called.
    pub(crate) fn label(&self) -> String {
        format!("v{}", self.beginning.trim_start_matches('v'))
    }
}

/// The streams of these versions, each once.
pub(crate) fn streams<'a>(versions: impl IntoIterator<Item = &'a str>) -> std::collections::BTreeSet<Stream> {
    versions.into_iter().filter_map(Stream::of).collect()
}

/// The address of a catalogue, as a user types it: it becomes a line of configuration files, in which systemd expands `%`
/// (systemd.unit(5), specifiers), and a word of the shell's.
///
/// # Errors
/// It isn't one.
pub(crate) fn base_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]@!+,=".contains(c);
    match !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(format!("got {text:?}, expected an address like https://example.org/extensions/")),
    }
}

/// The directory of an extension in a catalogue, with the slash at the end.
pub(crate) fn directory(base_url: &str, name: &str) -> String {
    format!("{}/{name}/", base_url.trim_end_matches('/'))
}

/// The form of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `.conf`: read by all versions of systemd.
    Conf,
    /// `.transfer`: its name since systemd 257.
    Transfer,
}

impl Transfer {
    /// `NAME.conf`, `NAME-vX.Y.conf` for a stream.
    pub(crate) fn file_name(&self, form: Form) -> String {
        let stream = self.stream.as_ref().map_or(String::new(), |s| format!("-{}", s.label()));
        let ending = match form {
            Form::Conf => "conf",
            Form::Transfer => "transfer",
        };
        format!("{}{stream}.{ending}", self.name)
    }

    /// The names of images: `NAME-@v-%a.raw`, `NAME-v1.32.@v-%a.raw`.
    pub(crate) fn pattern(&self) -> String {
        let series = self.stream.as_ref().map_or(String::new(), |s| format!("{}.", s.beginning));
        format!("{}-{series}@v-%a.raw", self.name)
    }

    pub(crate) fn text(&self) -> String {
        let (name, pattern) = (&self.name, self.pattern());
        let verify = if self.verify { "yes" } else { "no" };
        // Without a pattern of its own the target takes the source's, and systemd warns each time.
        format!(
            "[Transfer]\nVerify={verify}\n\n\
             [Source]\nType=url-file\nPath={}\nMatchPattern={pattern}\n\n\
             [Target]\nInstancesMax={INSTANCES}\nType=regular-file\nPath={STORE}/{name}\nMatchPattern={pattern}\n\
             CurrentSymlink={MERGED}/{name}.raw\n",
            self.base_url
        )
    }
}

/// A configuration that never finds anything: without any in the default place `systemd-sysupdate.service` fails, even if
/// there are components.
pub(crate) const NOOP: &str = "[Source]\nType=regular-file\nPath=/\nMatchPattern=invalid@v.raw\n\n\
                        [Target]\nType=regular-file\nPath=/\nMatchPattern=invalid@v.raw\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(stream: Option<&str>) -> Transfer {
        Transfer {
            name: "kubernetes".into(),
            base_url: "https://example.org/kubernetes/".into(),
            stream: stream.map(|v| Stream::of(v).unwrap()),
            verify: false,
        }
    }

    #[test]
    fn streams() {
        for (version, beginning, label) in [
            ("v1.32.2", "v1.32", "v1.32"),
            ("1.32.2", "1.32", "v1.32"),
            ("v1.32.2+k3s1", "v1.32", "v1.32"),
            ("24.0.6-rc.1", "24.0", "v24.0"),
        ] {
            let stream = Stream::of(version).unwrap();
            assert_eq!((stream.beginning.as_str(), stream.label().as_str()), (beginning, label));
        }
        for none in ["", "v1", "1.32", "v1.32.", "x.y.z", "1.x.2", "..", "v"] {
            assert_eq!(Stream::of(none), None, "{none}");
        }
    }

    #[test]
    fn transfers() {
        insta::assert_snapshot!(transfer(None).text());
        let stream = transfer(Some("v1.32.2"));
        assert_eq!(stream.file_name(Form::Conf), "kubernetes-v1.32.conf");
        assert_eq!(stream.file_name(Form::Transfer), "kubernetes-v1.32.transfer");
        assert_eq!(stream.pattern(), "kubernetes-v1.32.@v-%a.raw");
        assert!(stream.text().contains("CurrentSymlink=/etc/extensions/kubernetes.raw\n"));
        assert_eq!(transfer(Some("1.32.2")).pattern(), "kubernetes-1.32.@v-%a.raw");
        assert!(Transfer { verify: true, ..stream }.text().contains("Verify=yes\n"));
    }
}
