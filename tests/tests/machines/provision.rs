//! `bakery butane` and `bakery ignition`, given to Ignition itself, and what comes of it to systemd-sysext.

use std::fs;
use std::path::Path;

use anyhow::Result;
use e2e::upstream::site::{sha256, sums};
use e2e::{Account, Host, Outcome, Program, Work, http};

use crate::flatcar::{Parts, extension};

/// Debian's package `ignition`: the program that runs on a machine's first boot.
const IGNITION: &str = "/usr/lib/dracut/modules.d/30ignition/ignition";

const VERSIONS: [&str; 3] = ["v1.31.9+k3s1", "v1.32.2+k3s1", "v1.32.10+k3s1"];

struct Catalogue {
    work: Work,
    base: String,
    user: Account,
}

impl Catalogue {
    /// With k3s in three versions for x86-64, and one for arm64.
    fn new() -> Result<Catalogue> {
        let work = Work::new()?;
        let dir = work.dir("site/extensions/k3s")?;
        let base = format!("http://{}/extensions", http::serve(work.path().join("site"))?);
        let mut files = Vec::new();
        let images = VERSIONS.iter().map(|v| (*v, "x86-64")).chain([(VERSIONS[1], "arm64")]);
        for (number, (version, arch)) in images.enumerate() {
            let name = format!("k3s-{version}-{arch}.raw");
            extension(&dir.join(&name), "k3s", arch, 1000 + number)?;
            files.push((name.clone(), fs::read(dir.join(name))?));
        }
        fs::write(dir.join("SHA256SUMS"), sums(files.iter().map(|(n, b)| (n.as_str(), b.as_slice()))))?;
        let user = work.user("user")?;
        Ok(Catalogue { work, base, user })
    }

    fn bakery(&self, args: &[&str]) -> Result<Outcome> {
        Parts::get()?.bakery(&self.user).args(args).args(["--base-url", &self.base]).outcome()
    }
}

/// What Butane does with these keys: <https://coreos.github.io/butane/config-flatcar-v1_0/>. YAML is read by PyYAML.
const TRANSPILE: &str = r#"
import json, sys, urllib.parse, yaml
config = yaml.safe_load(sys.stdin)
assert (config.pop("variant"), config.pop("version")) == ("flatcar", "1.0.0")
assert set(config) <= {"storage", "systemd"}, config
for file in config["storage"]["files"]:
    assert set(file) == {"path", "mode", "contents"} and isinstance(file["mode"], int), file
    contents = file["contents"]
    inline = contents.pop("inline", None)
    if inline is not None:
        contents["source"] = "data:," + urllib.parse.quote(inline, safe="-._~")
    assert set(contents) <= {"source", "verification"}, contents
config["ignition"] = {"version": "3.3.0"}
json.dump(config, sys.stdout, sort_keys=True)
"#;

const COMBINATIONS: &[&[&str]] = &[
    &["k3s", "v1.32.2+k3s1"],
    &["k3s", "v1.32.2+k3s1", "--arch", "arm64"],
    &["k3s", "latest", "--sysupdate"],
    &["k3s", "v1.32.2+k3s1", "--sysupdate", "--stream", "--then", "restart:k3s.service"],
    &["k3s", "v1.31.9+k3s1", "--sysupdate", "--then", "reboot", "--verify"],
    // One that masks what Flatcar brings along.
    &["docker", "27.5.1", "--offline", "--sysupdate"],
];

#[test]
fn both_forms_are_the_same_and_valid() -> Result<()> {
    let catalogue = Catalogue::new()?;
    for args in COMBINATIONS {
        let butane = catalogue.bakery(&[&["butane"], *args].concat())?.success()?;
        let ignition = catalogue.bakery(&[&["ignition"], *args].concat())?.success()?;
        let file = catalogue.work.path().join("config.ign");
        fs::write(&file, &ignition.stdout)?;
        let valid = Program::new("ignition-validate").arg(&file).run()?;
        // It warns of what it doesn't refuse.
        assert_eq!(format!("{}{}", valid.stdout, valid.stderr), "", "{args:?}");
        let transpiled =
            Program::new("python3").args(["-c", TRANSPILE]).input(butane.stdout.clone()).run()?;
        let as_json = |text: &str| serde_json::from_str::<serde_json::Value>(text);
        assert_eq!(as_json(&transpiled.stdout)?, as_json(&ignition.stdout)?, "{}", butane.stdout);
    }
    let latest = catalogue.bakery(&["butane", "k3s", "latest"])?.success()?.stdout;
    assert!(
        latest.contains("/k3s/k3s-v1.32.10%2Bk3s1-x86-64.raw\n") && latest.contains("hash: sha256-"),
        "{latest}"
    );
    Ok(())
}

/// Ignition downloads and verifies the image; the root that it made is merged by systemd-sysext.
#[test]
fn a_machine_that_ignition_made_has_the_extension() -> Result<()> {
    let catalogue = Catalogue::new()?;
    let args =
        ["ignition", "k3s", "v1.32.2+k3s1", "--sysupdate", "--stream", "--then", "restart:k3s.service"];
    let config = catalogue.bakery(&args)?.success()?.stdout;
    let root = catalogue.work.dir("root")?;
    // Debian's Ignition would label the files for SELinux when all else is done, and there is none.
    let out = provision(catalogue.work.path(), &root, &config)?;
    assert!(out.status.success() || out.stdout.contains("failed to handle relabeling"), "{}", out.stdout);
    let image = root.join("opt/extensions/k3s/k3s-v1.32.2+k3s1-x86-64.raw");
    let original = catalogue.work.path().join("site/extensions/k3s/k3s-v1.32.2+k3s1-x86-64.raw");
    assert!(fs::read(&image)? == fs::read(original)?);
    let link = fs::read_link(root.join("etc/extensions/k3s.raw"))?;
    assert_eq!(root.join(link.strip_prefix("/")?), image);
    let preset = fs::read_to_string(root.join("etc/systemd/system-preset/20-ignition.preset"))?;
    assert_eq!(preset, "enable systemd-sysupdate.timer\n");
    let conf = fs::read_to_string(root.join("etc/sysupdate.k3s.d/k3s-v1.32.conf"))?;
    assert!(conf.contains(&format!("\nPath={}/k3s/\n", catalogue.base)), "{conf}");
    assert!(root.join("etc/sysupdate.d/noop.conf").is_file());
    assert!(root.join("etc/systemd/system/systemd-sysupdate.service.d/k3s.conf").is_file());

    let host = Host::bookworm()?;
    let as_named = catalogue.work.path().join("k3s.raw");
    fs::copy(&image, &as_named)?;
    let merged =
        host.merged(&catalogue.work.dir("merge")?, &[&as_named], r#"wc -c < "$place/usr/share/k3s""#)?;
    assert_eq!(merged.stdout.trim(), "1001");

    // Another image under the name: Ignition refuses, because the configuration has the checksum.
    let dir = catalogue.work.path().join("site/extensions/k3s");
    fs::write(dir.join("k3s-v1.32.2+k3s1-x86-64.raw"), "another")?;
    let other = catalogue.work.dir("other")?;
    let out = provision(catalogue.work.path(), &other, &config)?.failure()?;
    let said = out.stdout.contains(&sha256(b"another")) && !out.stdout.contains("relabeling");
    assert!(said, "{}", out.stdout);
    Ok(())
}

/// Runs Ignition's stages on a root directory.
fn provision(work: &Path, root: &Path, config: &str) -> Result<Outcome> {
    fs::create_dir_all(root.join("etc"))?;
    let file = work.join("machine.ign");
    fs::write(&file, config)?;
    let state = work.join("ignition-state");
    for name in ["state", "cache", "neednet"] {
        let _ = fs::remove_file(state.join(name));
    }
    fs::create_dir_all(&state)?;
    let stage = |name: &str| {
        let program = Program::new(IGNITION).clean_env().env("IGNITION_CONFIG_FILE", &file);
        let program =
            program.args(["-platform", "file", "-log-to-stdout", "-stage", name, "-root"]).arg(root);
        let program =
            program.arg("-state-file").arg(state.join("state")).arg("-config-cache").arg(state.join("cache"));
        program.arg("-neednet").arg(state.join("neednet")).outcome()
    };
    stage("fetch")?.success()?;
    stage("files")
}

#[test]
fn what_cannot_be_had_is_told() -> Result<()> {
    let catalogue = Catalogue::new()?;
    for (args, said) in [
        (
            &["butane", "k3s", "v9.9.9"][..],
            "SHA256SUMS: doesn't list k3s-v9.9.9-x86-64.raw; the newest version is v1.32.10+k3s1",
        ),
        (&["butane", "k3s", "latest", "--arch", "riscv64"], "SHA256SUMS: lists no k3s for riscv64"),
        (&["butane", "k3s", "latest", "--offline"], "version latest: --offline asks nobody what that is"),
        (&["butane", "gone", "latest"], "gone/SHA256SUMS"),
        (
            &["butane", "k3s", "v1", "--sysupdate", "--stream", "--offline"],
            "--stream: version v1 has no minor version",
        ),
        (&["butane", "k3s", "v1.2.3", "--stream"], "--sysupdate"),
        (&["ignition", "k3s", "v1/2"], "version \"v1/2\" has '/'"),
        (&["ignition", "k 3s", "v1"], "extension name"),
        (
            &["ignition", "k3s", "v1.2.3", "--sha256", "12"],
            "--sha256: got \"12\", expected 64 hexadecimal digits",
        ),
        (
            &["butane", "k3s", "v1.2.3", "--sysupdate", "--then", "restart:a b"],
            "expected refresh, restart:UNIT or reboot",
        ),
    ] {
        let out = catalogue.bakery(args)?.failure()?;
        assert!(out.stderr.contains(said) && out.stdout.is_empty(), "{args:?}: {said:?}: {}", out.stderr);
    }
    for url in [
        "example.org/x",
        "https://",
        "https://example.org/x y",
        "https://example.org/#x",
        // systemd would expand it.
        "https://example.org/%20/",
        "ftp://example.org/",
    ] {
        let args = ["butane", "k3s", "v1.2.3", "--base-url", url];
        let out = Parts::get()?.bakery(&catalogue.user).args(args).outcome()?.failure()?;
        assert!(out.stderr.contains("expected an address like https://"), "{url}: {}", out.stderr);
    }
    // A catalogue that can't be asked costs the checksum alone.
    let out = catalogue.bakery(&["butane", "gone", "v1.2.3"])?.success()?;
    assert!(
        out.stderr.contains("warning: the image's checksum is left out: ") && !out.stdout.contains("hash:"),
        "{out:?}"
    );
    let sum = sha256(b"x");
    let out = catalogue.bakery(&["butane", "gone", "v1.2.3", "--sha256", &sum])?.success()?;
    assert!(out.stderr.is_empty() && out.stdout.contains(&format!("hash: sha256-{sum}\n")), "{out:?}");
    Ok(())
}

#[test]
fn images_of_a_release_are_checked() -> Result<()> {
    let catalogue = Catalogue::new()?;
    let host = catalogue.user.home().join("host");
    fs::create_dir_all(host.join("usr/lib"))?;
    fs::write(host.join("usr/lib/os-release"), "ID=flatcar\n")?;
    let host = format!("dir:{}", host.display());
    let check = |from: &str, args: &[&str]| {
        let bakery = Parts::get()?.bakery(&catalogue.user).args(["check", "--host", &host, "--from", from]);
        bakery.args(args).outcome()
    };
    // What decides is the version, not the order of the names.
    for (name, file) in [
        ("k3s", "k3s-v1.32.10+k3s1-x86-64.raw"),
        ("k3s-v1.31.9+k3s1-x86-64.raw", "k3s-v1.31.9+k3s1-x86-64.raw"),
    ] {
        let out = check(&catalogue.base, &[name, "--json"])?.success()?;
        let report: serde_json::Value = serde_json::from_str(&out.stdout)?;
        let size = fs::metadata(catalogue.work.path().join("site/extensions/k3s").join(file))?.len();
        let extension = &report[0]["extensions"][0];
        assert_eq!((&extension["name"], &extension["size"]), (&"k3s".into(), &size.into()), "{report}");
    }
    let twice = check(&catalogue.base, &["k3s", "k3s"])?.failure()?;
    assert!(twice.stdout.contains("[same-name]"), "{twice:?}");
    for (from, args, said) in [
        (
            &*catalogue.base,
            &["k3s-v9-x86-64.raw"][..],
            "doesn't list k3s-v9-x86-64.raw; the newest version is v1.32.10+k3s1",
        ),
        (&catalogue.base, &["k3s", "--arch", "riscv64"], "SHA256SUMS: lists no k3s for riscv64"),
        (&catalogue.base, &["gone"], "gone/SHA256SUMS"),
        (&catalogue.base, &["k3s", "--catalogue-key", "none.asc"], "none.asc"),
        ("ftp://example.org", &["k3s"], "--from: got \"ftp://example.org\", expected an address"),
    ] {
        let out = check(from, args)?.failure()?;
        assert!(out.stderr.contains(said) && out.stdout.is_empty(), "{args:?}: {said:?}: {}", out.stderr);
    }
    Ok(())
}

/// The guide's lines, with the memory file systems of a host that is not changed: /tmp for /opt.
const ROLL_BACK: &str = r#"
mkdir -p "$place/tmp/extensions/tool"
cp "$work/tool-1.0-x86-64.raw" "$work/tool-2.0-x86-64.raw" "$place/tmp/extensions/tool/"
on() { chroot "$place" "$@" >&2; }
size() { wc -c < "$place/usr/share/tool"; }
on ln -s /tmp/extensions/tool/tool-2.0-x86-64.raw /etc/extensions/tool.raw
on systemd-sysext refresh
size
on ln -sfn /tmp/extensions/tool/tool-1.0-x86-64.raw /etc/extensions/tool.raw
size
on systemd-sysext refresh
size
on rm /etc/extensions/tool.raw
on systemd-sysext refresh
test -e "$place/usr/share/tool" || echo gone
"#;

#[test]
fn going_back_is_a_link_and_a_refresh() -> Result<()> {
    let work = Work::new()?;
    let dir = work.dir("merge")?;
    for (version, size) in [("1.0", 1000), ("2.0", 2000)] {
        extension(&dir.join(format!("tool-{version}-x86-64.raw")), "tool", "x86-64", size)?;
    }
    let other = work.path().join("other.raw");
    extension(&other, "other", "x86-64", 10)?;
    let merged = Host::bookworm()?.merged(&dir, &[&other], ROLL_BACK)?;
    // Nothing changes before the refresh.
    assert_eq!(merged.stdout.split_whitespace().collect::<Vec<_>>(), ["2000", "2000", "1000", "gone"]);
    Ok(())
}
