//! Configuration of systemd-sysupdate for an extension, and what a new machine is told so that it has it: Butane.
//! sysupdate.d(5); <https://coreos.github.io/butane/config-flatcar-v1_1/>.

use std::fmt::Write as _;

/// Images that are kept: the one in use, and those before.
const INSTANCES: u32 = 3;

/// Where a machine keeps images, and under which name systemd-sysext finds the current one.
const STORE: &str = "/opt/extensions";
const MERGED: &str = "/etc/extensions";

/// How an extension is kept up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The extension.
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
pub struct Stream {
    /// Major and minor number, with the `v` that versions have, if any: `v1.32`.
    beginning: String,
}

impl Stream {
    /// The minor release that a version belongs to; none if it has no two numbers with something behind them.
    pub fn of(version: &str) -> Option<Stream> {
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

    /// `vX.Y`, with the letter in any case: what configuration files are called.
    pub fn label(&self) -> String {
        format!("v{}", self.beginning.trim_start_matches('v'))
    }
}

/// The form of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `.conf`: read by all versions of systemd.
    Conf,
    /// `.transfer`: its name since systemd 257.
    Transfer,
}

impl Transfer {
    /// `NAME.conf`, `NAME-vX.Y.conf` for a stream.
    pub fn file_name(&self, form: Form) -> String {
        let stream = self.stream.as_ref().map_or(String::new(), |s| format!("-{}", s.label()));
        let ending = match form {
            Form::Conf => "conf",
            Form::Transfer => "transfer",
        };
        format!("{}{stream}.{ending}", self.name)
    }

    /// The names of images: `NAME-@v-%a.raw`, `NAME-v1.32.@v-%a.raw`.
    pub fn pattern(&self) -> String {
        let series = self.stream.as_ref().map_or(String::new(), |s| format!("{}.", s.beginning));
        format!("{}-{series}@v-%a.raw", self.name)
    }

    /// The file.
    pub fn text(&self) -> String {
        let (name, pattern) = (&self.name, self.pattern());
        let verify = if self.verify { "true" } else { "false" };
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
pub const NOOP: &str = "[Source]\nType=regular-file\nPath=/\nMatchPattern=invalid@v.raw\n\n\
                        [Target]\nType=regular-file\nPath=/\nMatchPattern=invalid@v.raw\n";

/// What a new machine gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// How it is kept up to date.
    pub transfer: Transfer,
    /// The image that it starts with: `NAME-VERSION-ARCH.raw`.
    pub image: String,
    /// Of that image, 64 hex digits, if it is known.
    pub sha256: Option<String>,
    /// Extensions that the system brings along and that must not be merged beside it: `docker-flatcar`.
    pub masked: Vec<String>,
}

impl Machine {
    /// Butane: the image, the link under which it is merged, and updates by a timer that asks for a reboot when there is
    /// something new.
    pub fn butane(&self) -> String {
        let name = &self.transfer.name;
        let mut out = String::from("variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n");
        let _ = write!(
            out,
            "    - path: {STORE}/{name}/{image}\n      mode: 0644\n      contents:\n        source: {base}{image}\n",
            image = self.image,
            base = self.transfer.base_url
        );
        if let Some(sha256) = &self.sha256 {
            let _ = write!(out, "        verification:\n          hash: sha256-{sha256}\n");
        }
        let conf = self.transfer.file_name(Form::Conf);
        inline(&mut out, &format!("/etc/sysupdate.{name}.d/{conf}"), &self.transfer.text());
        inline(&mut out, "/etc/sysupdate.d/noop.conf", NOOP);
        out.push_str("  links:\n");
        let _ = write!(
            out,
            "    - target: {STORE}/{name}/{}\n      path: {MERGED}/{name}.raw\n      hard: false\n",
            self.image
        );
        for masked in &self.masked {
            let _ = write!(
                out,
                "    - path: {MERGED}/{masked}.raw\n      target: /dev/null\n      overwrite: true\n"
            );
        }
        let _ = write!(
            out,
            "systemd:\n  units:\n    - name: systemd-sysupdate.timer\n      enabled: true\n    \
             - name: systemd-sysupdate.service\n      dropins:\n        - name: {name}.conf\n          contents: |\n"
        );
        for line in self.drop_in().lines() {
            let _ = writeln!(out, "            {line}");
        }
        out
    }

    /// The drop-in of systemd-sysupdate.service: fetches, and has the machine rebooted if the link leads elsewhere then.
    pub fn drop_in(&self) -> String {
        let name = &self.transfer.name;
        let place = format!("/run/{name}.sysext");
        format!(
            "[Service]\n\
             ExecStartPre=/usr/bin/sh -c \"readlink --canonicalize {MERGED}/{name}.raw > {place}\"\n\
             ExecStartPre=/usr/lib/systemd/systemd-sysupdate -C {name} update\n\
             ExecStartPost=/usr/bin/sh -c \"readlink --canonicalize {MERGED}/{name}.raw > {place}-new\"\n\
             ExecStartPost=/usr/bin/sh -c \"cmp --silent {place} {place}-new || touch /run/reboot-required\"\n"
        )
    }
}

/// A file with its text in the snippet.
fn inline(out: &mut String, path: &str, text: &str) {
    let _ = write!(out, "    - path: {path}\n      contents:\n        inline: |\n");
    for line in text.lines() {
        match line {
            "" => out.push('\n'),
            line => {
                let _ = writeln!(out, "          {line}");
            }
        }
    }
}

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
        assert!(Transfer { verify: true, ..stream }.text().contains("Verify=true\n"));
    }

    #[test]
    fn butane() {
        let machine = Machine {
            transfer: transfer(Some("v1.32.2")),
            image: "kubernetes-v1.32.2-x86-64.raw".into(),
            sha256: Some("ab".repeat(32)),
            masked: vec!["docker-flatcar".into()],
        };
        insta::assert_snapshot!(machine.butane());
        let plain = Machine { sha256: None, masked: Vec::new(), ..machine };
        assert!(!plain.butane().contains("verification") && !plain.butane().contains("/dev/null"));
    }
}
