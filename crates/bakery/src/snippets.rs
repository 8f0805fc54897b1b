//! Configuration that gives a machine an extension at its first start: Butane's, and Ignition's, which is the same transpiled.
//! <https://coreos.github.io/butane/config-flatcar-v1_0/>, <https://coreos.github.io/ignition/configuration-v3_3/>

use serde_json::{Value, json};
use store::http::form_encode;

use crate::sysupdate::{Form, MERGED, NOOP, STORE, Stream, Transfer, directory};

/// What a machine does when a newer version was staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Update {
    /// Merges it at once.
    Refresh,
    /// Merges it and restarts this service.
    Restart(String),
    /// Tells reboot managers, by the file that they watch for.
    Reboot,
}

/// Asks the manager for it: systemd-sysupdate.service may make no mount namespace, so that `systemd-sysext refresh` fails in it.
const REFRESH: &str = "systemctl reload-or-restart systemd-sysext.service";

impl Update {
    fn command(&self) -> String {
        match self {
            Update::Refresh => REFRESH.into(),
            Update::Restart(unit) => format!("{REFRESH} && systemctl restart {unit}"),
            Update::Reboot => "touch /run/reboot-required".into(),
        }
    }
}

/// A machine that gets an extension.
#[derive(Debug, Clone)]
pub(crate) struct Machine<'a> {
    pub name: &'a str,
    /// The image's name in the release.
    pub file: &'a str,
    /// Of the image, if it is known: 64 hexadecimal digits.
    pub sha256: Option<&'a str>,
    /// The address of the release.
    pub base_url: &'a str,
    /// Whether its manifests are signed.
    pub verify: bool,
    /// Extensions that the system brings along and that must not be merged beside it: `docker-flatcar`.
    pub(crate) masked: &'a [String],
    /// How the machine keeps the extension up to date, if it does, and the stream that it stays on.
    pub update: Option<(Update, Option<Stream>)>,
}

/// A file of a machine.
struct File {
    path: String,
    source: Source,
    sha256: Option<String>,
}

/// Where a file's content is.
enum Source {
    Url(String),
    Inline(String),
}

impl Machine<'_> {
    fn target(&self) -> String {
        format!("{STORE}/{}/{}", self.name, self.file)
    }

    fn link(&self) -> String {
        link(self.name)
    }

    fn files(&self) -> Vec<File> {
        let base_url = directory(self.base_url, self.name);
        let url = format!("{base_url}{}", form_encode(self.file));
        let sha256 = self.sha256.map(str::to_owned);
        let mut files = vec![File { path: self.target(), source: Source::Url(url), sha256 }];
        if let Some((_, stream)) = &self.update {
            let (name, stream) = (self.name.to_owned(), stream.clone());
            let transfer = Transfer { name, base_url, stream, verify: self.verify };
            let path = format!("/etc/sysupdate.{}.d/{}", self.name, transfer.file_name(Form::Conf));
            files.push(File { path, source: Source::Inline(transfer.text()), sha256: None });
            let path = "/etc/sysupdate.d/noop.conf".to_owned();
            files.push(File { path, source: Source::Inline(NOOP.into()), sha256: None });
        }
        files
    }

    /// The service that updates this extension and no other: a catalogue that is down fails nothing else.
    fn service(&self) -> String {
        format!("sysupdate-{}.service", self.name)
    }

    /// What systemd-sysupdate.service, which its timer starts, pulls in.
    fn drop_in(&self) -> String {
        format!("[Unit]\nWants={}\n", self.service())
    }

    /// Stages an update, and does what is wanted then if the link is another one than before, or isn't older than the merge.
    /// Another extension's run may merge between the two, and a run that is broken off leaves a link that isn't merged. So the
    /// link's time is recorded before, and stays recorded until what is wanted is done. systemd-sysext writes
    /// `.systemd-sysext/dev` when it merges. What was done is written down, since newer versions of it leave a merge alone that
    /// would change nothing. `/etc/extensions` has to be there: systemd-sysupdate downloads, doesn't create the link's directory,
    /// and finds nothing to do from then on.
    fn unit(&self, update: &Update) -> String {
        let (name, link, action) = (self.name, self.link(), update.command());
        let (before, done) = (format!("/run/sysupdate-{name}.before"), format!("/run/sysupdate-{name}.done"));
        let merged = "merged=$$(stat -c %%Y /usr/.systemd-sysext/dev 2>/dev/null || echo 0)";
        format!(
            "[Unit]\nDescription=Update extension {name}\nWants=network-online.target\nAfter=network-online.target\n\n\
             [Service]\nType=oneshot\n\
             ExecStartPre=/bin/mkdir -p {MERGED}\n\
             ExecStartPre=/bin/sh -c '[ -e {before} ] || {{ staged=$$(stat -c %%Y {link} 2>/dev/null || echo 0); {merged}; \
             [ $$staged -lt $$merged ] || staged=0; echo $$staged > {before}; }}'\n\
             ExecStart=/usr/lib/systemd/systemd-sysupdate -C {name} update\n\
             ExecStartPost=/bin/sh -c 'staged=$$(stat -c %%Y {link}) || {{ \
             echo \"{link} is missing: remove {STORE}/{name}/{name}-*.raw, so that it is fetched and linked again\" >&2; exit 1; }}; \
             grep -qx $$staged {before} || grep -qsx $$staged {done} || {{ {action} && echo $$staged > {done}; }} && rm {before}'\n"
        )
    }

    pub(crate) fn butane(&self) -> String {
        let mut out = String::from("variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n");
        for file in self.files() {
            out.push_str(&format!("    - path: {}\n      mode: 0644\n      contents:\n", file.path));
            match file.source {
                Source::Url(url) => out.push_str(&format!("        source: {url}\n")),
                Source::Inline(text) => out.push_str(&format!("        inline: |\n{}", indented(&text, 10))),
            }
            if let Some(sum) = file.sha256 {
                out.push_str(&format!("        verification:\n          hash: sha256-{sum}\n"));
            }
        }
        out.push_str(&format!(
            "  links:\n    - path: {}\n      target: {}\n      hard: false\n",
            self.link(),
            self.target()
        ));
        for masked in self.masked {
            out.push_str(&format!(
                "    - path: {}\n      target: /dev/null\n      overwrite: true\n      hard: false\n",
                link(masked)
            ));
        }
        if let Some((update, _)) = &self.update {
            out.push_str(
                "systemd:\n  units:\n    - name: systemd-sysupdate.timer\n      enabled: true\n    \
                 - name: systemd-sysupdate.service\n      dropins:\n",
            );
            out.push_str(&format!(
                "        - name: {}.conf\n          contents: |\n{}    - name: {}\n      contents: |\n{}",
                self.name,
                indented(&self.drop_in(), 12),
                self.service(),
                indented(&self.unit(update), 8)
            ));
        }
        out
    }

    pub(crate) fn ignition(&self) -> String {
        let file = |file: File| {
            let mut contents = json!({
                "source": match file.source {
                    Source::Url(url) => url,
                    Source::Inline(text) => format!("data:,{}", form_encode(&text)),
                },
            });
            if let Some(sum) = file.sha256 {
                contents["verification"] = json!({ "hash": format!("sha256-{sum}") });
            }
            json!({ "path": file.path, "mode": 0o644, "contents": contents })
        };
        let mut links = vec![json!({ "path": self.link(), "target": self.target(), "hard": false })];
        for masked in self.masked {
            links.push(
                json!({ "path": link(masked), "target": "/dev/null", "overwrite": true, "hard": false }),
            );
        }
        let mut config = json!({
            "ignition": { "version": "3.3.0" },
            "storage": { "files": self.files().into_iter().map(file).collect::<Vec<Value>>(), "links": links },
        });
        if let Some((update, _)) = &self.update {
            config["systemd"] = json!({ "units": [
                { "name": "systemd-sysupdate.timer", "enabled": true },
                { "name": "systemd-sysupdate.service",
                  "dropins": [{ "name": format!("{}.conf", self.name), "contents": self.drop_in() }] },
                { "name": self.service(), "contents": self.unit(update) },
            ] });
        }
        format!("{config:#}\n")
    }
}

/// Under which name systemd-sysext finds an extension.
fn link(name: &str) -> String {
    format!("{MERGED}/{name}.raw")
}

/// Lines of a YAML block; empty ones stay empty.
fn indented(text: &str, by: usize) -> String {
    let line = |l: &str| if l.is_empty() { "\n".to_owned() } else { format!("{:by$}{l}\n", "") };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn machine(update: Option<(Update, Option<Stream>)>) -> Machine<'static> {
        Machine {
            name: "k3s",
            file: "k3s-v1.31.2+k3s1-x86-64.raw",
            sha256: Some(SUM),
            base_url: "https://example.org/extensions",
            verify: false,
            masked: &[],
            update,
        }
    }

    #[test]
    fn an_extension_and_its_link() {
        let expected = format!(
            "\
variant: flatcar
version: 1.0.0
storage:
  files:
    - path: /opt/extensions/k3s/k3s-v1.31.2+k3s1-x86-64.raw
      mode: 0644
      contents:
        source: https://example.org/extensions/k3s/k3s-v1.31.2%2Bk3s1-x86-64.raw
        verification:
          hash: sha256-{SUM}
  links:
    - path: /etc/extensions/k3s.raw
      target: /opt/extensions/k3s/k3s-v1.31.2+k3s1-x86-64.raw
      hard: false
"
        );
        assert_eq!(machine(None).butane(), expected);
    }

    #[test]
    fn both_forms_say_the_same() {
        let machine = machine(Some((Update::Reboot, Stream::of("v1.31.2"))));
        let butane = machine.butane();
        for part in [
            "    - path: /etc/sysupdate.k3s.d/k3s-v1.31.conf\n",
            "          MatchPattern=k3s-v1.31.@v-%a.raw\n",
            "    - path: /etc/sysupdate.d/noop.conf\n",
            "        - name: k3s.conf\n          contents: |\n            [Unit]\n            Wants=sysupdate-k3s.service\n",
            "    - name: sysupdate-k3s.service\n      contents: |\n        [Unit]\n",
            "touch /run/reboot-required && echo $$staged > /run/sysupdate-k3s.done; } && rm /run/sysupdate-k3s.before'\n",
        ] {
            assert!(butane.contains(part), "{part}\n{butane}");
        }
        let ignition: Value = serde_json::from_str(&machine.ignition()).unwrap();
        assert_eq!(
            ignition["storage"]["files"][0]["contents"]["verification"]["hash"],
            format!("sha256-{SUM}")
        );
        assert_eq!(ignition["storage"]["files"][1]["path"], "/etc/sysupdate.k3s.d/k3s-v1.31.conf");
        let source = ignition["storage"]["files"][1]["contents"]["source"].as_str().unwrap();
        assert!(source.starts_with("data:,%5BTransfer%5D%0AVerify%3Dno%0A"), "{source}");
        let masked = ["docker-flatcar".to_owned()];
        let machine = Machine { masked: &masked, ..machine };
        assert!(
            machine
                .butane()
                .contains("    - path: /etc/extensions/docker-flatcar.raw\n      target: /dev/null\n")
        );
        assert!(machine.ignition().contains("/etc/extensions/docker-flatcar.raw"));
        let drop_in = ignition["systemd"]["units"][1]["dropins"][0]["contents"].as_str().unwrap();
        assert!(butane.contains(&indented(drop_in, 12)));
        let unit = ignition["systemd"]["units"][2]["contents"].as_str().unwrap();
        assert!(butane.contains(&indented(unit, 8)));
    }
}
