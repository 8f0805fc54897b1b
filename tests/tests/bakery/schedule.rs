//! What `bakery ignition --sysupdate` gives a machine, in a machine that has booted.

use std::fs;

use anyhow::{Context, Result};
use base64::Engine as _;
use e2e::registry::Authority;
use e2e::{Upstream, Vm, Work, http};
use serde_json::Value;

use crate::{kitchen::Kitchen, shelf::publish_nebula};

/// nebula has no configuration, and would be started again and again, which takes more of an emulated processor than all else.
const IDLE: &str = "
mkdir -p /run/systemd/system/nebula.service.d
printf '[Unit]\\nConditionPathExists=/etc/nebula/config.yaml\\n' > /run/systemd/system/nebula.service.d/idle.conf
";

/// An address, and the time that certificates want.
const NETWORK: &str = "
printf '[Match]\\nName=e*\\n[Network]\\nAddress=10.0.2.15/24\\nGateway=10.0.2.2\\n' > /etc/systemd/network/e.network
systemctl start systemd-networkd.service
/usr/lib/systemd/systemd-networkd-wait-online --timeout=300
";

/// A shell line that writes a file.
fn write(path: &str, content: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(content);
    format!("mkdir -p \"$(dirname '{path}')\"\necho '{text}' | base64 -d > '{path}'\n")
}

/// Of a `data:` URL.
fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut parts = text.split('%');
    out.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).context("a cut escape")?;
        out.push(u8::from_str_radix(digits, 16)?);
        out.extend(rest.bytes());
    }
    Ok(out)
}

/// What Ignition would do at the first start, as a script. `image` is what the catalogue has.
fn provision(config: &Value, image: &[u8]) -> Result<String> {
    let mut script = String::new();
    let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| value.to_string());
    for file in config["storage"]["files"].as_array().context("no files")? {
        let source = text(&file["contents"]["source"])?;
        let content = match source.strip_prefix("data:,") {
            Some(data) => decoded(data)?,
            None => image.to_owned(),
        };
        script += &write(&text(&file["path"])?, &content);
    }
    for link in config["storage"]["links"].as_array().context("no links")? {
        script += &format!("ln -sfn '{}' '{}'\n", text(&link["target"])?, text(&link["path"])?);
    }
    for unit in config["systemd"]["units"].as_array().context("no units")? {
        let name = text(&unit["name"])?;
        for part in unit["dropins"].as_array().into_iter().flatten() {
            let path = format!("/etc/systemd/system/{name}.d/{}", text(&part["name"])?);
            script += &write(&path, text(&part["contents"])?.as_bytes());
        }
        if let Some(contents) = unit["contents"].as_str() {
            script += &write(&format!("/etc/systemd/system/{name}"), contents.as_bytes());
        }
        if unit["enabled"] == true {
            // All are loaded at once, below.
            script += &format!("systemctl enable --no-reload '{name}'\n");
        }
    }
    Ok(script + "systemctl daemon-reload\n")
}

#[test]
fn the_timers_service_updates_an_extension_and_does_what_is_wanted_then() -> Result<()> {
    let work = Work::new()?;
    let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
    let kitchen = Kitchen::new(&upstream)?;
    let authority = Authority::new(&work.path().join("authority"))?;
    let address = http::serve_tls(kitchen.path("release"), &authority)?;
    let base = format!("https://10.0.2.2:{}/", address.port());
    let offers = format!("base-url = \"{base}\"\narchitectures = [\"x86-64\"]\n[extensions]\nnebula = ");
    kitchen.write("release.toml", &format!("{offers}[\"v1.9.5\"]\n"))?;
    kitchen.bakery(&["release"])?.run()?;
    let image = fs::read(kitchen.path("release/nebula/nebula-v1.9.5-x86-64.raw"))?;
    publish_nebula(&upstream, "v1.9.6")?;
    kitchen.write("release.toml", &format!("{offers}[\"v1.9.6\"]\n"))?;
    kitchen.bakery(&["release"])?.run()?;

    let ignition = |then: &str| -> Result<String> {
        let args =
            ["ignition", "nebula", "v1.9.5", "--offline", "--base-url", &base, "--sysupdate", "--then"];
        let text = kitchen.bakery(&args)?.arg(then).run()?.stdout;
        provision(&serde_json::from_str(&text)?, &image)
    };
    // Another extension, whose catalogue is down; it was staged by nobody.
    let args =
        ["ignition", "wasmtime", "v30.0.2", "--offline", "--base-url", "https://10.0.2.2:1/", "--sysupdate"];
    let other: Value = serde_json::from_str(&kitchen.bakery(&args)?.run()?.stdout)?;
    let other = provision(&other, b"")? + "rm -r /etc/extensions/wasmtime.raw /opt/extensions/wasmtime\n";
    let trust = write("/etc/ssl/certs/ca-certificates.crt", &fs::read(&authority.ca)?);
    let say = "echo \"says $(nebula -version 2>&1 | head -n 1), link $(basename \"$(readlink /etc/extensions/nebula.raw)\")\"\n";
    // The unit that does it is waited for; it may have been started with the service.
    let update = "systemctl start systemd-sysupdate.service; systemctl start sysupdate-nebula.service || journalctl -u 'sysupdate*' --no-pager\n";
    let back = "ln -sfn /opt/extensions/nebula/nebula-v1.9.5-x86-64.raw /etc/extensions/nebula.raw\n\
                rm /opt/extensions/nebula/nebula-v1.9.6-x86-64.raw\nsystemctl reload-or-restart systemd-sysext.service\n";
    // A reboot is only asked for; a refresh happens; an update that brings nothing does nothing.
    let script = [
        NETWORK,
        IDLE,
        &trust,
        &other,
        &ignition("reboot")?,
        "systemctl is-enabled systemd-sysupdate.timer\nsystemctl reload-or-restart systemd-sysext.service\n",
        say,
        update,
        "test -e /run/reboot-required && rm /run/reboot-required\n",
        say,
        update,
        "test ! -e /run/reboot-required\n",
        back,
        &ignition("refresh")?,
        say,
        update,
        say,
        "test ! -e /run/reboot-required\necho \"nebula $(systemctl show -P Result sysupdate-nebula.service)\"\n\
         echo \"other $(systemctl show -P Result sysupdate-wasmtime.service)\"\n",
        // The link is moved by somebody whose run is broken off before the merge.
        "ln -sfn /opt/extensions/nebula/nebula-v1.9.5-x86-64.raw /etc/extensions/nebula.raw\n\
         systemctl reload-or-restart systemd-sysext.service\n\
         ln -sfn /opt/extensions/nebula/nebula-v1.9.6-x86-64.raw /etc/extensions/nebula.raw\n",
        say,
        update,
        say,
        // Another extension's update merges before this one's run comes to it: its service is restarted all the same.
        back,
        "printf '[Service]\\nType=oneshot\\nExecStart=/bin/sh -c \"echo started >> /run/starts\"\\n' > /etc/systemd/system/starts.service\n\
         mkdir -p /run/systemd/system/sysupdate-nebula.service.d\n\
         printf '[Service]\\nExecStart=/bin/sleep 2\\nExecStart=/bin/systemctl reload-or-restart systemd-sysext.service\\n' \
             > /run/systemd/system/sysupdate-nebula.service.d/other.conf\n",
        &ignition("restart:starts.service")?,
        "systemctl reload-or-restart systemd-sysext.service\n",
        "sleep 2\n",
        update,
        say,
        update,
        "echo \"starts $(wc -l < /run/starts)\"\n",
        // Without a link, nothing would ever be merged.
        "rm /etc/extensions/nebula.raw\n",
        update,
        "echo \"missing $(systemctl show -P Result sysupdate-nebula.service)\"\n\
         journalctl -u sysupdate-nebula.service --no-pager | grep 'nebula.raw is missing: remove /opt/extensions/nebula/nebula-\\*.raw'\n\
         rm /opt/extensions/nebula/nebula-*.raw\n",
        update,
        say,
    ]
    .concat();
    let text = Vm::trixie()?.with_network().run(&work.dir("vm")?, &[], &script)?;
    let said: Vec<&str> = text.lines().filter(|l| l.starts_with("says ")).collect();
    let expected = [
        ("1.9.5", "v1.9.5"),
        ("1.9.5", "v1.9.6"),
        ("1.9.5", "v1.9.5"),
        ("1.9.6", "v1.9.6"),
        ("1.9.5", "v1.9.6"),
        ("1.9.6", "v1.9.6"),
        ("1.9.6", "v1.9.6"),
        ("1.9.6", "v1.9.6"),
    ];
    assert_eq!(said.len(), expected.len(), "{text}");
    for (line, (program, link)) in said.iter().zip(expected) {
        let end = format!("{program}, link nebula-{link}-x86-64.raw");
        assert!(line.ends_with(&end), "{line}: expected {end}\n{text}");
    }
    for line in ["starts 1", "missing exit-code"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert!(text.lines().any(|l| l == "nebula success"), "{text}");
    assert!(text.lines().any(|l| l == "other exit-code"), "{text}");
    Ok(())
}
