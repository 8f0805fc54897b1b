//! Signatures of images against policies: those that skopeo makes, and those in cosign's form. Verdicts on the former are skopeo's, too.

use super::*;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci::Policy;
use serde_json::{Value, json};

/// Images with and without signatures in a registry of their own, and the keys.
struct Signed {
    work: Work,
    registry: Registry,
}

/// Whether skopeo of Debian 12 has what it takes, so that its verdict has to be the same. It is built without sigstore.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    Same,
    Lacks,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(Signed::new);

impl Signed {
    fn new() -> Signed {
        let work = Work::new().unwrap();
        let settings = Settings { remove: true, ..Settings::default() };
        let registry = Registry::start(work.path(), &settings).unwrap();
        let signed = Signed { work, registry };
        for name in ["one", "two"] {
            let user = format!("{name}@example.org");
            signed.gpg(&["--quick-generate-key", &user, "rsa2048", "sign", "never"]);
            fs::write(signed.path(name), signed.gpg(&["--armor", "--export", &user])).unwrap();
        }
        for name in ["cosign", "other"] {
            signed.openssl(&[
                "ecparam",
                "-genkey",
                "-name",
                "prime256v1",
                "-noout",
                "-out",
                &format!("{name}.key"),
            ]);
            signed.openssl(&["ec", "-in", &format!("{name}.key"), "-pubout", "-out", &format!("{name}.pub")]);
        }
        let config = signed.path("config/containers/registries.d");
        fs::create_dir_all(&config).unwrap();
        let store = signed.path("store");
        let yaml = format!(
            "default-docker:\n  lookaside: file://{0}\n  lookaside-staging: file://{0}\n  use-sigstore-attachments: true\n",
            store.display()
        );
        fs::write(config.join("store.yaml"), yaml).unwrap();

        let images: Vec<Image> = (1..=3).map(|n| Image::noise(&[1000 * n]).unwrap()).collect();
        for (name, image) in [("unsigned", 0), ("mine", 0), ("renamed", 0), ("other", 1), ("cosign", 2)] {
            signed.registry.push(&format!("team/{name}"), "1", &images[image]).unwrap();
        }
        signed.registry.push("team/mine", "2", &images[0]).unwrap();
        let mine = signed.name("mine:1");
        let copy =
            ["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--sign-by", "one@example.org"];
        let from = format!("docker://{}", signed.name("unsigned:1"));
        signed.skopeo("accept", &copy, &[&from, &format!("docker://{mine}")]).success().unwrap();
        // Somebody puts the signature beside another name, and beside another image.
        let of = |name: &str, image: usize| {
            store.join(format!("team/{name}@{}", images[image].digest().replacen(':', "=", 1)))
        };
        for to in [of("renamed", 0), of("other", 1)] {
            fs::create_dir_all(&to).unwrap();
            fs::copy(of("mine", 0).join("signature-1"), to.join("signature-1")).unwrap();
        }
        let payload = signed.payload(&images[2], "cosign");
        signed.attach("cosign", &images[2], &payload, "cosign");
        signed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/team/{rest}", self.registry.address)
    }

    fn gpg(&self, args: &[&str]) -> String {
        let home = self.work.dir("gpg").unwrap();
        fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let base = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--yes"];
        Program::new("gpg").env("GNUPGHOME", &home).args(base).args(args).run().unwrap().stdout
    }

    fn openssl(&self, args: &[&str]) {
        Program::new("openssl").args(args).dir(self.work.path()).run().unwrap();
    }

    /// What cosign signs of an image.
    fn payload(&self, image: &Image, name: &str) -> Vec<u8> {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": self.name(name) },
                "image": { "docker-manifest-digest": image.digest() },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        serde_json::to_vec(&payload).unwrap()
    }

    /// Puts a signature by a key beside an image.
    fn attach(&self, name: &str, image: &Image, payload: &[u8], key: &str) {
        fs::write(self.path("payload"), payload).unwrap();
        let key = format!("{key}.key");
        self.openssl(&["dgst", "-sha256", "-sign", &key, "-out", "signature", "payload"]);
        let signature = BASE64_STANDARD.encode(fs::read(self.path("signature")).unwrap());
        let layer = Layer { tar: payload.to_vec(), blob: payload.to_vec() };
        let describe = |manifest: &mut Value| {
            let layer = &mut manifest["layers"][0];
            layer["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json".into();
            layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
        };
        let list = Image::of(vec![layer], |_| {}, describe).unwrap();
        let tag = format!("{}.sig", image.digest().replacen(':', "-", 1));
        self.registry.push(&format!("team/{name}"), &tag, &list).unwrap();
    }

    fn policy(&self, name: &str, policy: &Value) -> PathBuf {
        let path = self.path(&format!("{name}.json"));
        fs::write(&path, policy.to_string()).unwrap();
        path
    }

    fn skopeo(&self, policy: &str, args: &[&str], images: &[&str]) -> e2e::Outcome {
        if policy == "accept" {
            self.policy("accept", &json!({ "default": [{ "type": "insecureAcceptAnything" }] }));
        }
        let command = Program::new("skopeo").env("GNUPGHOME", self.path("gpg")).arg("--policy");
        let command = command.arg(self.path(&format!("{policy}.json"))).arg("--registries.d");
        let command = command.arg(self.path("config/containers/registries.d")).args(args).args(images);
        command.outcome().unwrap()
    }

    fn environment(&self) -> Environment {
        Environment::from_iter([("HOME", self.path("home")), ("XDG_CONFIG_HOME", self.path("config"))])
    }

    /// A bench whose policy is this file.
    fn context(&self, bench: &Bench, policy: &Path) -> Context {
        let mut context = bench.context();
        context.policy = Policy::load(Some(policy), &self.environment()).unwrap();
        context
    }

    /// Pulls with a fresh cache; the error if it is refused. skopeo is asked the same.
    fn pull(&self, policy: &Value, image: &str, peer: Peer) -> Result<(), String> {
        static N: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let n = N.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let file = self.policy(&format!("policy{n}"), policy);
        let image = self.name(image);
        let bench = Bench::new(insecure(self.registry.address));
        let context = self.context(&bench, &file);
        let pulled = context.pull(&image.parse().unwrap(), &bench.told);
        let pulled = pulled.map(|_| ()).map_err(|e| {
            let rest = e.to_string();
            assert!(cli::hint(&e).is_some(), "{rest}");
            // Refused before anything of it was fetched.
            assert_eq!(fs::read_dir(bench.cache_dir().join("layers")).unwrap().count(), 0, "{rest}");
            rest.split_once(": ").map_or(rest.clone(), |(_, rest)| rest.to_owned())
        });
        if peer != Peer::Lacks {
            let to = format!("dir:{}", self.path(&format!("copy{n}")).display());
            let args = ["copy", "--src-tls-verify=false"];
            let theirs = self.skopeo(&format!("policy{n}"), &args, &[&format!("docker://{image}"), &to]);
            let expected = pulled.is_ok();
            assert_eq!(
                theirs.status.success(),
                expected,
                "{image} {policy}: {pulled:?}, skopeo: {}",
                theirs.stderr
            );
        }
        pulled
    }

    /// A policy with one requirement for the registry.
    fn only(&self, requirement: Value) -> Value {
        json!({
            "default": [{ "type": "reject" }],
            "transports": { "docker": { self.registry.address.to_string(): [requirement] } },
        })
    }

    fn signed_by(&self, keys: Value, identity: Option<Value>) -> Value {
        let mut requirement = json!({ "type": "signedBy", "keyType": "GPGKeys" });
        requirement.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        if let Some(identity) = identity {
            requirement["signedIdentity"] = identity;
        }
        self.only(requirement)
    }

    fn cosigned(&self, keys: Value, identity: Option<Value>) -> Value {
        let mut policy = self.signed_by(keys, identity);
        let requirement = &mut policy["transports"]["docker"][self.registry.address.to_string()][0];
        requirement["type"] = "sigstoreSigned".into();
        requirement.as_object_mut().unwrap().remove("keyType");
        policy
    }
}

#[test]
fn openpgp_signatures_of_images() {
    let s = &*SIGNED;
    let key = |name: &str| json!({ "keyPath": s.path(name) });
    let both = json!({ "keyPaths": [s.path("two"), s.path("one")] });
    let data = json!({ "keyData": BASE64_STANDARD.encode(fs::read(s.path("one")).unwrap()) });
    let mine = s.name("mine:1");
    let digest = Image::noise(&[1000]).unwrap().digest();
    let by_digest = format!("mine@{digest}");
    let identity = |kind: &str| Some(json!({ "type": kind }));
    let exact = Some(json!({ "type": "exactReference", "dockerReference": mine }));
    let repository = Some(json!({ "type": "exactRepository", "dockerRepository": s.name("mine") }));
    let remap = |from: &str, to: &str| {
        Some(json!({ "type": "remapIdentity", "prefix": s.name(from), "signedPrefix": s.name(to) }))
    };
    for (keys, identity, image, peer) in [
        (key("one"), None, "mine:1", Peer::Same),
        (both, None, "mine:1", Peer::Lacks),
        (data, None, "mine:1", Peer::Same),
        (key("one"), identity("matchExact"), "mine:1", Peer::Same),
        (key("one"), identity("matchRepository"), "mine:2", Peer::Same),
        (key("one"), None, &by_digest, Peer::Same),
        (key("one"), exact, "renamed:1", Peer::Same),
        (key("one"), repository, "renamed:1", Peer::Same),
        (key("one"), remap("renamed", "mine"), "renamed:1", Peer::Same),
    ] {
        let policy = s.signed_by(keys, identity);
        assert_eq!(s.pull(&policy, image, peer), Ok(()), "{image} {policy}");
    }
    for (keys, identity, image, message) in [
        (key("two"), None, "mine:1", "none of the image's counts: signature is by key"),
        (key("one"), None, "mine:2", "signature is for the name"),
        (key("one"), None, "unsigned:1", "wants a signature by an OpenPGP key, and the image has none"),
        (key("one"), None, "renamed:1", "signature is for the name"),
        (key("one"), identity("matchRepository"), "renamed:1", "signature is for the name"),
        (key("one"), identity("matchExact"), &by_digest, "signature is for the name"),
        (key("one"), remap("rename", "mine"), "renamed:1", "signature is for the name"),
        (key("one"), None, "other:1", "signature is for sha256:"),
        (key("cosign.pub"), None, "mine:1", "key has no OpenPGP data"),
        (key("missing"), None, "mine:1", "No such file"),
    ] {
        let policy = s.signed_by(keys, identity);
        let error = s.pull(&policy, image, Peer::Same).expect_err(image);
        assert!(error.contains(message), "{image} {policy}: {error}");
    }
}

#[test]
fn signatures_in_the_form_of_cosign() {
    let s = &*SIGNED;
    let key = |name: &str| json!({ "keyPath": s.path(name) });
    let data = json!({ "keyData": BASE64_STANDARD.encode(fs::read(s.path("cosign.pub")).unwrap()) });
    let both = json!({ "keyPaths": [s.path("other.pub"), s.path("cosign.pub")] });
    let repository = Some(json!({ "type": "matchRepository" }));
    for keys in [key("cosign.pub"), data, both] {
        let policy = s.cosigned(keys, repository.clone());
        assert_eq!(s.pull(&policy, "cosign:1", Peer::Lacks), Ok(()), "{policy}");
    }
    for (keys, identity, image, message) in [
        (key("other.pub"), repository.clone(), "cosign:1", "is wrong"),
        (key("cosign.pub"), None, "cosign:1", "signature is for the name"),
        (
            key("cosign.pub"),
            repository.clone(),
            "unsigned:1",
            "wants a signature of cosign's, and the image has none",
        ),
        (
            key("cosign.pub"),
            repository.clone(),
            "mine:1",
            "wants a signature of cosign's, and the image has none",
        ),
        (key("one"), repository.clone(), "cosign:1", "key is no public key of cosign's"),
    ] {
        let policy = s.cosigned(keys, identity);
        let error = s.pull(&policy, image, Peer::Lacks).expect_err(image);
        assert!(error.contains(message), "{image} {policy}: {error}");
    }
    // What nobody can check without asking around.
    for keys in [
        json!({ "fulcio": { "caPath": "/ca", "oidcIssuer": "https://example.org", "subjectEmail": "a@example.org" },
                "rekorPublicKeyPath": "/rekor" }),
        json!({ "keyPath": s.path("cosign.pub"), "rekorPublicKeyPath": s.path("cosign.pub") }),
    ] {
        let policy = s.cosigned(keys, repository.clone());
        let error = s.pull(&policy, "cosign:1", Peer::Lacks).expect_err("nobody can");
        assert!(error.contains("can't be checked without other services"), "{error}");
    }
    // Signatures whose statement isn't what it should be, by the right key.
    let image = Image::noise(&[5000]).unwrap();
    let good = String::from_utf8(s.payload(&image, "odd")).unwrap();
    for (n, (from, to, message)) in [
        ("cosign container", "atomic container", "what it signs is a \"atomic container image signature\""),
        (
            "\"optional\":null",
            "\"optional\":null,\"more\":1",
            "what it signs is malformed: unknown field `more`",
        ),
        ("\"type\":", "\"type\":\"x\",\"type\":", "what it signs is malformed: duplicate field `type`"),
        ("\"critical\":{", "\"critical\":{\"more\":1,", "what it signs is malformed: unknown field `more`"),
        ("sha256:", "sha256:00", "what it signs is malformed"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("odd{n}");
        s.registry.push(&format!("team/{name}"), "1", &image).unwrap();
        let payload = good.replace("team/odd", &format!("team/{name}")).replacen(from, to, 1);
        s.attach(&name, &image, payload.as_bytes(), "cosign");
        let policy = s.cosigned(key("cosign.pub"), repository.clone());
        let error = s.pull(&policy, &format!("{name}:1"), Peer::Lacks).expect_err(&name);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn the_most_specific_scope_decides() {
    let s = &*SIGNED;
    let (accept, reject) = (json!([{ "type": "insecureAcceptAnything" }]), json!([{ "type": "reject" }]));
    let host = s.registry.address.to_string();
    let digest = Image::noise(&[1000]).unwrap().digest();
    let (tag, repository) = (s.name("unsigned:1"), s.name("unsigned"));
    let team = format!("{host}/team");
    let by_digest = s.name(&format!("unsigned@{digest}"));
    // All that a name is in, the most specific first: each accepts what those behind it reject, and the other way round.
    let scopes = [tag.as_str(), &repository, &team, &host, "*.0.0.1", "*.0.1", "*.1", ""];
    for n in 0..scopes.len() {
        for (own, others, good) in [(&accept, &reject, true), (&reject, &accept, false)] {
            let mut docker = serde_json::Map::new();
            docker.insert(scopes[n].into(), own.clone());
            docker.extend(scopes[n + 1..].iter().map(|s| (s.to_string(), others.clone())));
            // None of these is a scope of the image.
            for other in [format!("{team}/uns"), format!("{host}0"), "127.0.0.1".into(), by_digest.clone()] {
                docker.insert(other, others.clone());
            }
            let policy = json!({ "default": others, "transports": { "docker": docker } });
            let pulled = s.pull(&policy, "unsigned:1", Peer::Same);
            assert_eq!(pulled.is_ok(), good, "{policy}: {pulled:?}");
        }
    }
    let error = s.pull(&json!({ "default": reject }), "unsigned:1", Peer::Same).unwrap_err();
    assert!(error.starts_with("image is rejected by the rule for \"default\" in "), "{error}");
    // A digest is more specific than a tag beside it; skopeo takes no such names.
    let policy = |first: &str, second: &str| json!({ "default": reject, "transports": { "docker": { by_digest.as_str(): [{ "type": first }], tag.as_str(): [{ "type": second }] } } });
    let both = format!("unsigned:1@{digest}");
    assert_eq!(s.pull(&policy("insecureAcceptAnything", "reject"), &both, Peer::Lacks), Ok(()));
    s.pull(&policy("reject", "insecureAcceptAnything"), &both, Peer::Lacks).unwrap_err();
    // All requirements have to be met.
    let one = json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": s.path("one") });
    let two = json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": s.path("two") });
    s.pull(&json!({ "default": [one, { "type": "insecureAcceptAnything" }] }), "mine:1", Peer::Same).unwrap();
    s.pull(&json!({ "default": [one, two] }), "mine:1", Peer::Same).unwrap_err();
}

#[test]
fn signatures_are_kept_with_the_image() {
    let s = &*SIGNED;
    let key = |name: &str| json!({ "keyPath": s.path(name) });
    let bench = Bench::new(insecure(s.registry.address));
    let good = s.policy("kept-one", &s.signed_by(key("one"), None));
    let image = s.name("mine:1").parse().unwrap();
    // Nothing is there: it says what wasn't asked.
    let mut context = s.context(&bench, &good);
    context.pull(&image, &bench.told).unwrap();
    context.offline = true;
    context.pull(&image, &bench.told).unwrap();
    // A policy that wants another key refuses what is in the cache, too.
    let bad = s.policy("kept-two", &s.signed_by(key("two"), None));
    for offline in [false, true] {
        let mut context = s.context(&bench, &bad);
        context.offline = offline;
        let error = context.pull(&image, &bench.told).unwrap_err().to_string();
        assert!(error.contains("none of the image's counts"), "{error}");
    }
    // What was pulled without a policy has no signatures here; those at a registry can't be asked for.
    let bench = Bench::new(insecure(s.registry.address));
    let image = s.name("cosign:1").parse().unwrap();
    bench.context().pull(&image, &bench.told).unwrap();
    let policy = s.cosigned(key("cosign.pub"), Some(json!({ "type": "matchRepository" })));
    let policy = s.policy("kept-cosign", &policy);
    let mut context = s.context(&bench, &policy);
    context.offline = true;
    let error = context.pull(&image, &bench.told).unwrap_err().to_string();
    assert!(error.contains("the registry isn't asked, since network access is off"), "{error}");
    context.offline = false;
    context.pull(&image, &bench.told).unwrap();
    context.offline = true;
    context.pull(&image, &bench.told).unwrap();
}

#[test]
fn signatures_from_a_server_and_of_an_index() {
    let s = &*SIGNED;
    let image = Image::noise(&[7000]).unwrap();
    s.registry.push("team/listed", "one", &image).unwrap();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.digest(),
            "size": image.manifest.len(),
            "platform": { "os": "linux", "architecture": ARCHITECTURE },
        }],
    });
    let index = serde_json::to_vec(&index).unwrap();
    s.registry.push_manifest("team/listed", "1", "application/vnd.oci.image.index.v1+json", &index).unwrap();
    // A signature of the index, made apart, behind a web server.
    let manifest = s.path("index.json");
    fs::write(&manifest, &index).unwrap();
    let (name, out) = (s.name("listed:1"), s.path("detached"));
    let sign = [
        "standalone-sign",
        manifest.to_str().unwrap(),
        &name,
        "one@example.org",
        "-o",
        out.to_str().unwrap(),
    ];
    let made = s.skopeo("accept", &sign, &[]);
    assert!(made.status.success(), "{}", made.stderr);
    let served = s.work.dir("served").unwrap();
    let place = served.join(format!("sigs/team/listed@{}", digest(&index).replacen(':', "=", 1)));
    fs::create_dir_all(&place).unwrap();
    fs::copy(&out, place.join("signature-1")).unwrap();
    let server = e2e::http::serve(served).unwrap();
    let config = s.path("config2/containers/registries.d");
    fs::create_dir_all(&config).unwrap();
    let yaml = format!("docker:\n  {}/team:\n    sigstore: http://{server}/sigs/\n", s.registry.address);
    fs::write(config.join("own.yaml"), yaml).unwrap();
    let policy = s.policy("index", &s.signed_by(json!({ "keyPath": s.path("one") }), None));
    let environment =
        Environment::from_iter([("HOME", s.path("home")), ("XDG_CONFIG_HOME", s.path("config2"))]);
    let bench = Bench::new(insecure(s.registry.address));
    let mut context = bench.context();
    context.policy = Policy::load(Some(&policy), &environment).unwrap();
    let pulled = context.pull(&name.parse().unwrap(), &bench.told).unwrap();
    complete(&pulled, &image);
    // The image alone isn't signed.
    let alone = s.name("listed:one").parse().unwrap();
    let error = context.pull(&alone, &bench.told).unwrap_err().to_string();
    assert!(error.contains("the image has none"), "{error}");
    // A server that doesn't answer isn't one that has no signatures.
    let yaml = format!("docker:\n  {}/team:\n    lookaside: http://127.0.0.1:1/\n", s.registry.address);
    fs::write(config.join("own.yaml"), yaml).unwrap();
    let error = context.pull(&alone, &bench.told).unwrap_err().to_string();
    assert!(error.contains("the image has none; ") && error.contains("127.0.0.1:1"), "{error}");
}

#[test]
fn images_on_this_machine() {
    let s = &*SIGNED;
    let copied = s.path("as-dir");
    let (from, to) = (format!("docker://{}", s.name("mine:1")), format!("dir:{}", copied.display()));
    let copy = s.skopeo("accept", &["copy", "--src-tls-verify=false"], &[&from, &to]);
    assert!(copy.status.success(), "{}", copy.stderr);
    let layout = format!("oci:{}:name", s.path("as-layout").display());
    let copy = s.skopeo("accept", &["copy", "--remove-signatures"], &[&to, &layout]);
    assert!(copy.status.success(), "{}", copy.stderr);
    let archive = format!("docker-archive:{}", s.path("as-archive").display());
    let copy = s.skopeo("accept", &["copy", "--remove-signatures"], &[&to, &archive]);
    assert!(copy.status.success(), "{}", copy.stderr);
    let plain = s.work.dir("plain").unwrap();
    fs::create_dir_all(plain.join("etc")).unwrap();
    Program::new("tar").args(["-C"]).arg(&plain).arg("-cf").arg(s.path("plain.tar")).arg(".").run().unwrap();

    let signed = |identity: Value| json!([{ "type": "signedBy", "keyType": "GPGKeys", "keyPath": s.path("one"), "signedIdentity": identity }]);
    let exact = signed(json!({ "type": "exactReference", "dockerReference": s.name("mine:1") }));
    let (accept, reject) = (json!([{ "type": "insecureAcceptAnything" }]), json!([{ "type": "reject" }]));
    let (plain, tar) = (format!("dir:{}", plain.display()), format!("tar:{}", s.path("plain.tar").display()));
    let above = s.work.path().to_str().unwrap();
    let rest = |what: &str| s.path(what).display().to_string();
    for (n, (image, transports, message)) in [
        (&to, json!({ "dir": { above: exact } }), None),
        (&to, json!({ "dir": { rest("as-dir"): exact, above: reject } }), None),
        (
            &to,
            json!({ "dir": { "": signed(json!({ "type": "matchRepository" })) } }),
            Some("not for an image of dir"),
        ),
        (&to, json!({ "oci": { "": accept } }), Some("is rejected by the rule for \"default\"")),
        (&layout, json!({ "oci": { rest("as-layout"): accept } }), None),
        (
            &layout,
            json!({ "oci": { rest("as-layout:name"): reject, rest("as-layout"): accept } }),
            Some("is rejected"),
        ),
        (&layout, json!({ "oci": { above: exact } }), Some("the image has none")),
        (&archive, json!({ "docker-archive": { "": accept } }), None),
        (&archive, json!({ "oci-archive": { "": accept } }), Some("is rejected")),
        (&plain, json!({ "dir": { "": accept } }), None),
        (&plain, json!({ "docker": { "": accept } }), Some("is rejected")),
        (&tar, json!({ "tarball": { "": accept } }), None),
        (&tar, json!({ "dir": { "": accept } }), Some("is rejected")),
    ]
    .into_iter()
    .enumerate()
    {
        let policy = s.policy(&format!("local{n}"), &json!({ "default": reject, "transports": transports }));
        let bench = Bench::new("");
        let context = s.context(&bench, &policy);
        let rootfs = context.rootfs(&image.parse().unwrap(), &oci::LivePaths::default(), &bench.told);
        match (rootfs, message) {
            (Ok(_), None) => {}
            (Err(e), Some(message)) => {
                assert!(e.to_string().contains(message), "{image} {transports}: {e}");
                assert!(cli::hint(&e).is_some());
            }
            (got, _) => panic!("{image} {transports}: {:?}", got.map(|_| ())),
        }
    }
}
