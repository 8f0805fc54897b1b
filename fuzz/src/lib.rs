//! What each target does with its bytes. None may panic, hang, or take memory out of proportion.

mod images;
mod packages;
mod recipes;
mod system;

/// A target: its name, its function, and inputs to begin with, which are damaged if no others are given.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What the command line calls it.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&[u8]),
    /// Small inputs that are valid, or nearly.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "reference", run: images::reference, seeds: images::references },
    Target { name: "manifest", run: images::manifest, seeds: images::manifests },
    Target { name: "registries", run: images::registries, seeds: images::configurations },
    Target { name: "decoder", run: images::decoder, seeds: images::streams },
    Target { name: "tar", run: images::tar, seeds: images::tars },
    Target { name: "layer", run: images::layer, seeds: images::tars },
    Target { name: "elf", run: system::elf, seeds: system::programs },
    Target { name: "rewriter", run: system::rewriter, seeds: system::programs },
    Target { name: "units", run: system::units, seeds: system::unit_files },
    Target { name: "squashfs", run: system::squashfs, seeds: system::squashfs_images },
    Target { name: "gpt", run: system::gpt, seeds: system::disks },
    Target { name: "dpkg", run: packages::dpkg, seeds: packages::texts },
    Target { name: "apk", run: packages::apk, seeds: packages::texts },
    Target { name: "pacman", run: packages::pacman, seeds: packages::texts },
    Target { name: "rpm-sqlite", run: packages::rpm_sqlite, seeds: packages::databases },
    Target { name: "rpm-ndb", run: packages::rpm_ndb, seeds: packages::databases },
    Target { name: "deb", run: recipes::deb, seeds: recipes::debs },
    Target { name: "zip", run: recipes::zip, seeds: recipes::zips },
    Target { name: "checksums", run: recipes::checksums, seeds: recipes::lists },
    Target { name: "signature", run: recipes::signature, seeds: recipes::signatures },
    Target { name: "recipe", run: recipes::recipe, seeds: recipes::texts },
    Target { name: "lock", run: recipes::lock, seeds: recipes::locks },
    Target { name: "versions", run: recipes::versions, seeds: recipes::version_lists },
];

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs the target of a name; does nothing if there is none.
pub fn run(name: &str, data: &[u8]) {
    if let Some(target) = target(name) {
        (target.run)(data);
    }
}

/// Texts as inputs.
fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So that a target does something with what it is for, and so that a panic on it is found by each run of the tests.
    #[test]
    fn targets_take_what_they_begin_with() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            for seed in seeds {
                (target.run)(&seed);
                (target.run)(&seed[..seed.len() / 2]);
            }
            (target.run)(b"");
        }
    }
}
