use std::num::NonZeroUsize;

use image::Codec;
use image::Format;

use super::*;
use crate::build::Destination;
use crate::recipe::instance::{Checksum, Requirement, Signature, SignatureKind};
use sysext::merge_test::Test;

/// All that a build is made from, with something in every field.
#[derive(Clone)]
struct Sample {
    name: ExtensionName,
    instance: Instance,
    pins: Pins,
    options: BuildOptions,
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

impl Sample {
    fn new() -> Sample {
        let instance = Instance {
            name: "thing".into(),
            version: "1.0".parse().unwrap(),
            arch: Arch::X86_64,
            settings: Settings {
                parameters: [("a".into(), "b".into())].into(),
                without: ["c".into()].into(),
            },
            reload: None,
            restart: Vec::new(),
            reload_or_restart: Vec::new(),
            requires: Vec::new(),
            host_libraries: vec!["libc.so.6".into()],
            allow: vec!["rule".into()],
            downloads: vec![Download {
                id: "thing".into(),
                url: "https://e.org/thing".into(),
                checksums: vec![Checksum::LockOnly],
                signature: None,
                archive: Archive::Tar,
                strip: 1,
                inside: None,
            }],
            installs: vec![Install {
                from: "thing".into(),
                pattern: Some("bin/*".into()),
                to: path("/usr/bin"),
                into: true,
                mode: None,
                except: vec!["x".into()],
                replace: vec![("a".into(), "b".into())],
                optional: false,
            }],
            files: [
                (path("/usr/f"), Static::File { mode: 0o644, content: b"f"[..].into() }),
                (path("/usr/l"), Static::Symlink("f".into())),
            ]
            .into(),
            build: Some(Build {
                image: "alpine".into(),
                packages: vec!["gcc".into()],
                sources: vec!["thing".into()],
                crates_of: None,
                environment: [("A".into(), "B".into())].into(),
                script: "make".into(),
            }),
            image: Some(Image {
                reference: "debian".into(),
                tool: Tool::Flix,
                packages: vec!["nginx".into()],
                paths: vec!["/usr/sbin/nginx".into()],
                service_files: true,
            }),
            tests: Vec::new(),
        };
        let input = Input {
            url: "https://e.org/thing".into(),
            size: 7,
            sha256: Digested(Digest::of("thing")),
            verified: "unchecked".to_owned().into(),
        };
        let pins = Pins {
            found: [("a".into(), "b".into())].into(),
            inputs: [("thing".into(), input)].into(),
            images: [("alpine".into(), Digested(Digest::of("alpine")))].into(),
            packages: BTreeMap::new(),
        };
        let options = BuildOptions::new(Destination::File("x.raw".into()));
        Sample { name: "thing".parse().unwrap(), instance, pins, options }
    }

    fn digest(&self) -> Digest {
        let Sample { name, instance, pins, options } = self;
        BuildInputs { name, instance, pins, options }.digest()
    }

    fn with(&self, change: &Change) -> Digest {
        let mut other = self.clone();
        change(&mut other);
        other.digest()
    }

    fn download(&mut self) -> &mut Download {
        &mut self.instance.downloads[0]
    }

    fn install(&mut self) -> &mut Install {
        &mut self.instance.installs[0]
    }

    fn build(&mut self) -> &mut Build {
        self.instance.build.as_mut().unwrap()
    }

    fn image(&mut self) -> &mut Image {
        self.instance.image.as_mut().unwrap()
    }

    fn input(&mut self) -> &mut Input {
        self.pins.inputs.get_mut("thing").unwrap()
    }

    fn file(&mut self) -> (&mut u32, &mut Arc<[u8]>) {
        match self.instance.files.get_mut(&path("/usr/f")) {
            Some(Static::File { mode, content }) => (mode, content),
            other => panic!("{other:?}"),
        }
    }
}

type Change = fn(&mut Sample);

#[test]
fn each_field_that_decides_bytes_changes_the_digest() {
    let changes: &[(&str, Change)] = &[
        ("name", |s| s.name = "other".parse().unwrap()),
        ("recipe", |s| s.instance.name = "other".into()),
        ("version", |s| s.instance.version = "1.1".parse().unwrap()),
        ("arch", |s| s.instance.arch = Arch::Arm64),
        ("parameter", |s| {
            s.instance.settings.parameters.insert("a".into(), "c".into());
        }),
        ("component", |s| s.instance.settings.without.clear()),
        ("recipe's reload", |s| s.instance.reload = Some(false)),
        ("host library", |s| s.instance.host_libraries.clear()),
        ("recipe's allow", |s| s.instance.allow.clear()),
        ("download's id", |s| s.download().id = "other".into()),
        ("download's url", |s| s.download().url = "https://e.org/other".into()),
        ("archive", |s| s.download().archive = Archive::Zip),
        ("strip", |s| s.download().strip = 0),
        ("inside", |s| s.download().inside = Some("*.tar".into())),
        ("downloads", |s| s.instance.downloads.clear()),
        ("from", |s| s.install().from = "other".into()),
        ("pattern", |s| s.install().pattern = None),
        ("to", |s| s.install().to = path("/usr/sbin")),
        ("into", |s| s.install().into = false),
        ("install's mode", |s| s.install().mode = Some(0o755)),
        ("except", |s| s.install().except.clear()),
        ("replace", |s| s.install().replace[0].1 = "c".into()),
        ("optional", |s| s.install().optional = true),
        ("file's mode", |s| *s.file().0 = 0o755),
        ("file's content", |s| *s.file().1 = b"g"[..].into()),
        ("symlink", |s| {
            s.instance.files.insert(path("/usr/l"), Static::Symlink("g".into()));
        }),
        ("no symlink", |s| {
            s.instance.files.remove(&path("/usr/l"));
        }),
        ("build's image", |s| s.build().image = "other".into()),
        ("build's packages", |s| s.build().packages.clear()),
        ("sources", |s| s.build().sources.clear()),
        ("crates", |s| s.build().crates_of = Some("thing".into())),
        ("environment", |s| s.build().environment.clear()),
        ("script", |s| s.build().script = "make all".into()),
        ("no build", |s| s.instance.build = None),
        ("image's reference", |s| s.image().reference = "other".into()),
        ("image's tool", |s| s.image().tool = Tool::Flatwrap),
        ("image's packages", |s| s.image().packages.clear()),
        ("image's paths", |s| s.image().paths.clear()),
        ("image's service files", |s| s.image().service_files = false),
        ("no image", |s| s.instance.image = None),
        ("pinned input", |s| s.input().sha256 = Digested(Digest::of("other"))),
        ("pinned image", |s| {
            s.pins.images.insert("alpine".into(), Digested(Digest::of("other")));
        }),
        ("pinned packages", |s| {
            let archives = Some(vec![PackageArchive {
                url: "https://e.org/a.deb".into(),
                size: 1,
                sha256: Digested(Digest::of("a")),
            }]);
            let packages = Packages { names: vec!["a".into()], archives };
            s.pins.packages.insert("build".into(), packages);
        }),
        ("unpinned packages", |s| {
            let packages = Packages { names: vec!["a".into()], archives: None };
            s.pins.packages.insert("build".into(), packages);
        }),
        ("format", |s| s.options.image.format = Format::Erofs),
        ("codec", |s| s.options.image.compression.codec = Some(Codec::Lz4)),
        ("level", |s| s.options.image.compression.level = Some(9)),
        ("block size", |s| s.options.image.block_size = Some(1 << 16)),
        ("verity", |s| s.options.image.verity = Some(Verity::default())),
        ("first", |s| s.options.image.first = vec![path("/usr/f")]),
        ("epoch", |s| s.options.epoch = 1),
        ("allow", |s| s.options.allow = ["rule".into()].into()),
        ("ID", |s| s.options.release.id = "flatcar".into()),
        ("SYSEXT_LEVEL", |s| s.options.release.sysext_level = Some("1.0".into())),
        ("VERSION_ID", |s| s.options.release.version_id = Some("1.0".into())),
        ("SYSEXT_SCOPE", |s| s.options.release.scope = Some("system".into())),
        ("reload", |s| s.options.release.reload = Some(false)),
        ("restart", |s| s.instance.restart = vec!["x.service".into()]),
        ("reload or restart", |s| s.instance.reload_or_restart = vec!["x.service".into()]),
    ];
    let sample = Sample::new();
    let mut seen = BTreeMap::from([(sample.digest(), "nothing")]);
    for (what, change) in changes {
        if let Some(other) = seen.insert(sample.with(change), what) {
            panic!("{what} gives the digest of {other}");
        }
    }
}

#[test]
fn what_decides_no_bytes_leaves_the_digest() {
    let changes: &[(&str, Change)] = &[
        ("requires", |s| {
            s.instance.requires = vec![Requirement { extension: "other".into(), version: None }]
        }),
        ("tests", |s| s.instance.tests = vec![Test { run: "true".into(), expect: None }]),
        ("checksum", |s| s.download().checksums = vec![Checksum::GithubDigest]),
        ("signature", |s| {
            let (url, key) = ("https://e.org/thing.sig".into(), b"key"[..].into());
            s.download().signature = Some(Signature { kind: SignatureKind::Openpgp, url, key });
        }),
        ("how it was verified", |s| s.input().verified = "checksum".to_owned().into()),
        ("threads", |s| s.options.image.threads = NonZeroUsize::new(3)),
        ("destination", |s| s.options.destination = Destination::Directory("y".into())),
        ("verify", |s| s.options.verify = true),
        ("rebuild", |s| s.options.rebuild = true),
    ];
    let sample = Sample::new();
    for (what, change) in changes {
        assert_eq!(sample.with(change), sample.digest(), "{what}");
    }
}

#[test]
fn values_do_not_run_into_each_other() {
    let digest = |a: &str, b: &str| {
        let mut sample = Sample::new();
        sample.build().packages = vec![a.into()];
        sample.build().sources = vec![b.into()];
        sample.digest()
    };
    assert_ne!(digest("ab", "c"), digest("a", "bc"));
    assert_eq!(SOURCES.len(), 64);
}
