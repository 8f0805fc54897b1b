//! What decides the bytes of an image, and a digest of it: an existing image is up to date if its digest is unchanged.
//!
//! Every type is destructured completely, so that a new field doesn't compile before it is decided here whether it
//! counts. What can make a build fail counts, too: if a recipe becomes stricter, its image is out of date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use host_check::Target;
use image::{Compression, ImageOptions, Verity, VeritySigner};
use selinux::Sources;
use store::{Digest, Hasher};
use sysext::ExtensionName;
use tree::{Arch, TreePath};

use super::options::{BuildOptions, ReleaseOptions};
use crate::lock::{Digested, Input, PackageArchive, Packages, Pins};
use crate::recipe::Settings;
use crate::recipe::instance::{Archive, Build, Download, Image, Install, Instance, Static, Tool};
use crate::version::Version;

/// Digest of the sources that decide bytes, from the build script.
const SOURCES: &str = env!("SOURCES_DIGEST");

/// All that decides the bytes of an image.
pub(super) struct BuildInputs<'a> {
    pub name: &'a ExtensionName,
    pub instance: &'a Instance,
    pub pins: &'a Pins,
    pub options: &'a BuildOptions,
}

impl BuildInputs<'_> {
    pub(super) fn digest(&self) -> Digest {
        let Self { name, instance, pins, options } = self;
        let mut fields = Fields(Hasher::new());
        fields.add(SOURCES).add(name.as_str()).add(*instance).add(*pins).add(*options);
        fields.0.finish()
    }
}

/// Takes values one after the other. What has no fixed length goes in with its length before it, so that no two rows of values
/// are the same bytes.
struct Fields(Hasher);

impl Fields {
    fn add<V: Decides + ?Sized>(&mut self, value: &V) -> &mut Self {
        value.add_to(self);
        self
    }
}

/// A value that decides bytes.
trait Decides {
    fn add_to(&self, fields: &mut Fields);
}

impl Decides for [u8] {
    fn add_to(&self, fields: &mut Fields) {
        fields.0.update(&(self.len() as u64).to_le_bytes());
        fields.0.update(self);
    }
}

impl Decides for str {
    fn add_to(&self, fields: &mut Fields) {
        fields.add(self.as_bytes());
    }
}

impl Decides for String {
    fn add_to(&self, fields: &mut Fields) {
        fields.add(self.as_str());
    }
}

impl Decides for Arc<[u8]> {
    fn add_to(&self, fields: &mut Fields) {
        fields.add(&**self);
    }
}

impl Decides for u32 {
    fn add_to(&self, fields: &mut Fields) {
        fields.0.update(&self.to_le_bytes());
    }
}

impl Decides for i64 {
    fn add_to(&self, fields: &mut Fields) {
        fields.0.update(&self.to_le_bytes());
    }
}

impl Decides for bool {
    fn add_to(&self, fields: &mut Fields) {
        fields.0.update(&[u8::from(*self)]);
    }
}

impl<V: Decides> Decides for Option<V> {
    fn add_to(&self, fields: &mut Fields) {
        fields.add(&self.is_some());
        if let Some(value) = self {
            fields.add(value);
        }
    }
}

/// A list: its length and its values.
fn list<'v, V: Decides + 'v>(values: impl ExactSizeIterator<Item = &'v V>, fields: &mut Fields) {
    fields.0.update(&(values.len() as u64).to_le_bytes());
    for value in values {
        fields.add(value);
    }
}

impl<V: Decides> Decides for Vec<V> {
    fn add_to(&self, fields: &mut Fields) {
        list(self.iter(), fields);
    }
}

impl<V: Decides> Decides for BTreeSet<V> {
    fn add_to(&self, fields: &mut Fields) {
        list(self.iter(), fields);
    }
}

impl<K: Decides, V: Decides> Decides for BTreeMap<K, V> {
    fn add_to(&self, fields: &mut Fields) {
        list(self.keys(), fields);
        list(self.values(), fields);
    }
}

impl Decides for (String, String) {
    fn add_to(&self, fields: &mut Fields) {
        let (a, b) = self;
        fields.add(a).add(b);
    }
}

impl Decides for TreePath {
    fn add_to(&self, fields: &mut Fields) {
        fields.add(self.as_relative());
    }
}

impl Decides for Version {
    fn add_to(&self, fields: &mut Fields) {
        fields.add(self.as_str());
    }
}

impl Decides for Arch {
    fn add_to(&self, fields: &mut Fields) {
        fields.add(self.systemd());
    }
}

impl Decides for Digested {
    fn add_to(&self, fields: &mut Fields) {
        fields.add(&self.0.to_string());
    }
}

impl Decides for Settings {
    fn add_to(&self, fields: &mut Fields) {
        let Self { parameters, without } = self;
        fields.add(parameters).add(without);
    }
}

impl Decides for Instance {
    fn add_to(&self, fields: &mut Fields) {
        let Self {
            name,
            version,
            arch,
            settings,
            reload,
            restart,
            reload_or_restart,
            requires: _, // are merged beside it
            host_libraries,
            allow,
            downloads,
            installs,
            files,
            build,
            image,
            tests: _, // are run in it
        } = self;
        fields.add(name).add(version).add(arch).add(settings).add(reload).add(host_libraries).add(allow);
        fields.add(downloads).add(installs).add(files).add(build).add(image);
        fields.add(restart).add(reload_or_restart);
    }
}

impl Decides for Download {
    fn add_to(&self, fields: &mut Fields) {
        let Self {
            id,
            url,
            checksums: _, // were compared when the digest was pinned
            signature: _,
            archive,
            strip,
            inside,
        } = self;
        let archive = match archive {
            Archive::Tar => "tar",
            Archive::Zip => "zip",
            Archive::Deb => "deb",
            Archive::File => "file",
        };
        fields.add(id).add(url).add(archive).add(strip).add(inside);
    }
}

impl Decides for Install {
    fn add_to(&self, fields: &mut Fields) {
        let Self { from, pattern, to, into, mode, except, replace, optional } = self;
        fields.add(from).add(pattern).add(to).add(into).add(mode).add(except).add(replace).add(optional);
    }
}

impl Decides for Static {
    fn add_to(&self, fields: &mut Fields) {
        match self {
            Static::File { mode, content } => fields.add("file").add(mode).add(content),
            Static::Symlink(target) => fields.add("symlink").add(target),
        };
    }
}

impl Decides for Build {
    fn add_to(&self, fields: &mut Fields) {
        let Self { image, packages, sources, crates_of, environment, script } = self;
        fields.add(image).add(packages).add(sources).add(crates_of).add(environment).add(script);
    }
}

impl Decides for Image {
    fn add_to(&self, fields: &mut Fields) {
        let Self { reference, tool, packages, paths, service_files } = self;
        let tool = match tool {
            Tool::Flix => "flix",
            Tool::Flatwrap => "flatwrap",
        };
        fields.add(reference).add(tool).add(packages).add(paths).add(service_files);
    }
}

impl Decides for Pins {
    fn add_to(&self, fields: &mut Fields) {
        let Self {
            found: _, // are among the instance's settings
            inputs,
            images,
            packages,
        } = self;
        fields.add(inputs).add(images).add(packages);
    }
}

impl Decides for Packages {
    fn add_to(&self, fields: &mut Fields) {
        let Self { names, archives } = self;
        fields.add(names).add(archives);
    }
}

impl Decides for PackageArchive {
    fn add_to(&self, fields: &mut Fields) {
        let Self {
            url: _, // may be a mirror's
            size: _,
            sha256,
        } = self;
        fields.add(sha256);
    }
}

impl Decides for Input {
    fn add_to(&self, fields: &mut Fields) {
        let Self {
            url: _, // is the download's
            size: _,
            sha256,
            verified: _,
        } = self;
        fields.add(sha256);
    }
}

impl Decides for BuildOptions {
    fn add_to(&self, fields: &mut Fields) {
        let Self {
            destination: _,
            image,
            epoch,
            allow,
            release,
            target,
            verify: _, // how an existing image is checked
            rebuild: _,
        } = self;
        fields.add(image).add(epoch).add(allow).add(release).add(target);
    }
}

impl BuildOptions {
    /// Of all options that decide how an image is written, whatever is in it.
    pub fn digest(&self) -> Digest {
        let mut fields = Fields(Hasher::new());
        fields.add(&self.image).add(&self.epoch).add(&self.release);
        // Statements of older releases have digests without it.
        if let Some(target) = &self.target {
            fields.add(target);
        }
        fields.0.finish()
    }
}

impl Decides for Arc<Target> {
    fn add_to(&self, fields: &mut Fields) {
        let Target { host, contexts } = &**self;
        // No image that is built for one is up to date: nobody knows what else the host has by now.
        fields.add(&host.is_some()).add(&contexts.is_some());
        let Some(contexts) = contexts else { return };
        let Sources { name: _, main, homedirs, local, subs, subs_dist } = contexts.sources();
        for text in [main, homedirs, local, subs, subs_dist] {
            fields.add(text.as_slice());
        }
    }
}

impl Decides for ReleaseOptions {
    fn add_to(&self, fields: &mut Fields) {
        let Self { id, sysext_level, version_id, scope, reload } = self;
        fields.add(id).add(sysext_level).add(version_id).add(scope).add(reload);
    }
}

impl Decides for ImageOptions {
    fn add_to(&self, fields: &mut Fields) {
        let Self {
            format,
            compression,
            threads: _, // the bytes don't depend on it
            block_size,
            verity,
            first,
        } = self;
        fields.add(format.as_str()).add(compression).add(block_size).add(verity).add(first);
    }
}

impl Decides for Compression {
    fn add_to(&self, fields: &mut Fields) {
        let Self { codec, level } = self;
        fields.add(&codec.map(|c| c.as_str().to_owned())).add(level);
    }
}

impl Decides for Verity {
    fn add_to(&self, fields: &mut Fields) {
        let Self {
            signer,
            architecture: _, // of extensions that have none, which recipes don't make
        } = self;
        fields.add(signer);
    }
}

impl Decides for Arc<VeritySigner> {
    /// The certificate has the public key in it, which is the private one's: [`VeritySigner::read`] takes no others.
    fn add_to(&self, fields: &mut Fields) {
        fields.add(&self.fingerprint());
    }
}

#[cfg(test)]
mod tests;
