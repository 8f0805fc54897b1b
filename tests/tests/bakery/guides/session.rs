//! Somebody who follows a guide: a directory to build in, and a host that has it as /opt/guide.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::layout::{self, Platform};
use e2e::registry::Authority;
use e2e::upstream::site::{Site, sha256};
use e2e::{Outcome, Program, Updater, Upstream, Work, World, http, place, place_program};

use crate::kitchen::Kitchen;
use crate::shelf::publish_nebula;

/// Commands that need what a test doesn't have: another machine, cargo's build, a password, a manager of services.
const STAND_INS: [(&str, &str); 3] = [
    ("sudo", "exec \"$@\"\n"),
    ("cargo", "[ \"$1 $2 $3\" = 'run -p bakery' ] && shift 4 && exec bakery \"$@\"\n"),
    (
        "rsync",
        "while [ $# -gt 2 ]; do shift; done\nto=web${2#web:}\n[ \"$2\" != \"$to\" ] && mkdir -p \"$to\" && cp -a \"$1.\" \"$to\"\n",
    ),
];
const ON_HOST: [(&str, &str); 3] = [
    ("sudo", "exec \"$@\"\n"),
    // There is no manager that could be reloaded.
    ("systemd-sysext", "exec /usr/bin/systemd-sysext --no-reload \"$@\"\n"),
    (
        "curl",
        "from=release/${3#https://example.org/extensions/}\n[ \"$1 $from\" != \"-fLo release/$3\" ] && exec cp \"$from\" \"$2\"\n",
    ),
];

/// What a host has that boots: its extensions are merged.
const BOOTED: &str = "export PATH=/opt/bin:$PATH SYSTEMD_OFFLINE=1 HOME=/opt/guide\ncd /opt/guide\nsystemd-sysext refresh >/dev/null 2>&1\n";

/// Images that guides name, with a program for each.
const PROGRAMS: [&str; 1] = ["tool"];

#[derive(Debug)]
pub(crate) struct Session {
    work: Work,
    kitchen: Kitchen,
    upstream: Upstream,
    authority: Authority,
    host: Updater,
    home: PathBuf,
}

impl Session {
    pub(crate) fn new() -> Result<Session> {
        let work = Work::new()?;
        let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
        let kitchen = Kitchen::new(&upstream)?;
        let authority = Authority::new(&work.path().join("authority"))?;
        let host = Updater::new(&work.dir("host")?, &authority.ca)?;
        let home = host.path("/opt/guide");
        fs::create_dir_all(home.join("target/debug"))?;
        // Debian has none: guides have to make it.
        fs::remove_dir(host.path("/etc/extensions"))?;
        let session = Session { work, kitchen, upstream, authority, host, home };
        session.programs()?;
        session.registry()?;
        session.publish_hello()?;
        Ok(session)
    }

    fn programs(&self) -> Result<()> {
        let bin = self.work.dir("bin")?;
        for program in [place::flix()?, place::flatwrap()?, place::bakery()?] {
            let name = program.file_name().context("a program without a name")?.to_owned();
            std::os::unix::fs::symlink(&program, bin.join(name))?;
        }
        std::os::unix::fs::symlink(place::bakery()?, self.home.join("target/debug/bakery"))?;
        stand_ins(&bin, &STAND_INS, self.work.path())?;
        stand_ins(&self.host.path("/opt/bin"), &ON_HOST, self.work.path())?;
        // gpg asks nobody for a passphrase.
        let gnupg = self.home.join(".gnupg");
        fs::create_dir_all(&gnupg)?;
        fs::set_permissions(&gnupg, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        fs::write(gnupg.join("gpg.conf"), "batch\npinentry-mode loopback\npassphrase-file /dev/null\n")?;
        Ok(())
    }

    /// The images that the guides name are on the tests' registry.
    fn registry(&self) -> Result<()> {
        let root = self.work.dir("root")?;
        let make = r#"cd "$1"; mkdir -p usr/bin usr/lib/systemd/system etc
            ln -s ../usr/lib/os-release etc/os-release; echo ID=fedora > usr/lib/os-release; echo VERSION_ID=42 >> usr/lib/os-release
            printf '#!/bin/sh\n' > usr/bin/systemd-sysext; chmod 755 usr/bin/systemd-sysext
            shift; for name; do cp /bin/busybox "usr/bin/$name"; done; tar --owner=0 --group=0 -cf ../root.tar ."#;
        Program::new("sh").args(["-euc", make, "sh"]).arg(&root).args(PROGRAMS).run()?;
        let layout = self.work.path().join("layout");
        let platform = Platform { architecture: "amd64", layers: vec![self.work.path().join("root.tar")] };
        layout::write(&layout, "latest", &[platform])?;
        let world = World::get()?;
        world.push(&layout, "latest", "guides/any")?;
        let at = world.registry();
        let text = |prefix: &str, to: &str| {
            format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{at}/{to}\"\ninsecure = true\n")
        };
        let docker = format!(
            "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\
             [[registry.mirror]]\nlocation = \"{at}\"\ninsecure = true\n"
        );
        let registries = [
            docker,
            text("docker.io/library/alpine", "library/little"),
            text("registry.example.org/unknown", "guides/any"),
            text("quay.io/fedora/fedora-coreos", "guides/any"),
        ];
        self.write("registries.conf", &registries.concat())?;
        Program::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
            .arg(format!("oci:{}:latest", layout.display()))
            .arg(format!("docker://{at}/guides/any:stable"))
            .run()
            .map(drop)
    }

    /// The project of the guide that adds an extension.
    fn publish_hello(&self) -> Result<()> {
        let mut assets = Vec::new();
        let mut sums = String::new();
        for arch in ["amd64", "arm64"] {
            let make = r#"mkdir -p "$1/hello-1.2.3/bin"; printf '#!/bin/sh\necho hello 1.2.3\n' > "$1/hello-1.2.3/bin/hello"
                chmod 755 "$1/hello-1.2.3/bin/hello"; tar -C "$1" -czf "$1/hello.tar.gz" hello-1.2.3"#;
            let dir = self.work.dir(&format!("hello-{arch}"))?;
            Program::new("sh").args(["-euc", make, "sh"]).arg(&dir).run()?;
            let (name, bytes) = (format!("hello-1.2.3-{arch}.tar.gz"), fs::read(dir.join("hello.tar.gz"))?);
            sums += &format!("{}  {name}\n", sha256(&bytes));
            assets.push((name, bytes));
        }
        assets.push(("SHA256SUMS".to_owned(), sums.into_bytes()));
        Site::new(&self.work.path().join("site")).releases("example/hello", &[("v1.2.3", assets)])
    }

    pub(crate) fn publish_nebula(&self, version: &str) -> Result<()> {
        publish_nebula(&self.upstream, version)
    }

    /// Serves the release over TLS.
    pub(crate) fn serve(&self) -> Result<SocketAddr> {
        http::serve_tls(self.home.join("release"), &self.authority)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.home.join(name), text).with_context(|| name.to_owned())
    }

    pub(crate) fn release_file(&self, text: &str) -> Result<()> {
        self.write("release.toml", text)
    }

    /// An extension of this name, which has a text.
    pub(crate) fn pack(&self, name: &str) -> Result<()> {
        let make = "rm -rf tree && mkdir -p \"tree/usr/share/$name\" && echo \"$name\" > \"tree/usr/share/$name/text\"";
        self.build(&format!("name={name}\n{make}\nbakery pack tree {name}\nrm -r tree\n")).map(drop)
    }

    /// Runs a script where extensions are built.
    pub(crate) fn build(&self, script: &str) -> Result<Outcome> {
        let path = std::env::var("PATH").context("PATH")?;
        Program::new("sh")
            .clean_env()
            .env("PATH", format!("{}:{path}", self.work.path().join("bin").display()))
            .env("HOME", &self.home)
            .env("BAKERY_CONFIG", self.kitchen.path("config.toml"))
            .env("BAKERY_RECIPES", self.kitchen.path("trusted"))
            .env("CONTAINERS_REGISTRIES_CONF", self.home.join("registries.conf"))
            .dir(&self.home)
            .args(["-euc", script])
            .run()
    }

    /// Runs a script on the host, as root.
    pub(crate) fn on_host(&self, script: &str) -> Result<Outcome> {
        self.host.run(&format!("{BOOTED}{script}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = Program::new("gpgconf")
            .arg("--homedir")
            .arg(self.home.join(".gnupg"))
            .args(["--kill", "all"])
            .outcome();
    }
}

/// Writes them without being open for writing when a program is started.
fn stand_ins(bin: &Path, scripts: &[(&str, &str)], scratch: &Path) -> Result<()> {
    fs::create_dir_all(bin)?;
    for (name, script) in scripts {
        let written = scratch.join(name);
        fs::write(&written, format!("#!/bin/sh\n{script}"))?;
        place_program(&written, &bin.join(name))?;
    }
    Ok(())
}
