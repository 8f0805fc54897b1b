//! How each block of commands is held.

use std::cmp::Ordering;

use anyhow::{Context, Result, ensure};
use e2e::guides::Block;

use crate::kitchen::CATALOGUE;

/// What shows that a block works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is run here, as it stands.
    Run,
    /// By a test: it has these words of the block in it, or reads the page of this name.
    By { file: &'static str, test: &'static str, words: &'static str },
    /// Its syntax and options only: it takes too long, or needs what no test has.
    Parsed,
}

use Held::{Parsed, Run};

const fn by(file: &'static str, test: &'static str, words: &'static str) -> Held {
    Held::By { file, test, words }
}

const DAEMON: Held = by("tests/tests/machines/daemons.rs", "the_guides_daemon_answers", "docs/daemons.md");
const CHECKED: Held = by("tests/tests/machines/checked.rs", "the_examples_of_the_guide", "docs/checking.md");
const BOOTS: Held =
    by("tests/tests/machines/boot.rs", "a_command_sees_both_extensions_and_the_host_sees_its_port", "boot");
const BAKES: Held = by(
    "tests/tests/machines/bake.rs",
    "root_gets_file_link_and_configuration_without_privileges",
    "bake-image",
);

type Rows = &'static [(&'static str, Held)];

/// Page, then how each of its blocks begins and what holds it, in order.
pub(crate) const TABLE: &[(&str, Rows)] = &[
    (
        "README.md",
        &[
            ("cargo xtask demo", Parsed),
            ("cargo install", Parsed),
            ("flix alpine", Run),
            // The same command as in the guide for daemons.
            ("flix debian:bookworm redis", DAEMON),
            ("bakery build", Run),
            ("bakery check", Run),
        ],
    ),
    (
        "CONTRIBUTING.md",
        &[
            ("cargo build", Parsed),
            ("cargo test", Parsed),
            ("cargo run -p bakery -- new", Run),
            ("cargo run -p bakery -- build", Run),
        ],
    ),
    ("SECURITY.md", &[("flix --untrusted", Run)]),
    (
        "docs/adding-an-extension.md",
        &[("bakery new", Run), ("bakery build", Run), ("sudo bakery test", Run), ("sudo mkdir", Run)],
    ),
    (
        "docs/auto-update.md",
        &[("mkdir", Run), ("/usr/lib/systemd/systemd-sysupdate", Run), ("ln", Run), ("cp", Run), ("rm", Run)],
    ),
    (
        "docs/baking.md",
        &[
            ("bakery bake-image kubernetes", BAKES),
            (
                "bakery bake-image --key",
                by("tests/tests/machines/bake_broken.rs", "signatures_that_do_not_hold", "--fingerprint"),
            ),
            (
                "bakery boot",
                by(
                    "tests/tests/machines/boot.rs",
                    "a_disk_image_boots_with_extensions_and_stays_as_it_was",
                    "--image",
                ),
            ),
        ],
    ),
    (
        "docs/building-for-a-host.md",
        &[
            (
                "flix --file-contexts",
                by(
                    "tests/tests/machines/labels.rs",
                    "images_are_labeled_without_privileges",
                    "--file-contexts",
                ),
            ),
            (
                "bakery pack",
                by(
                    "tests/tests/machines/labels.rs",
                    "what_the_host_has_is_left_out_and_what_hides_its_files_is_refused",
                    "--host",
                ),
            ),
        ],
    ),
    (
        "docs/checking.md",
        &[
            (
                "bakery check --host dir:/",
                by(
                    "tests/tests/machines/checked.rs",
                    "a_host_may_be_a_root_partition_a_file_system_a_tar_a_directory_or_an_oci_image",
                    "--host",
                ),
            ),
            ("bakery check", CHECKED),
            ("bakery check", CHECKED),
            ("bakery check", CHECKED),
            ("bakery check", CHECKED),
            ("bakery check", CHECKED),
            ("bakery check", CHECKED),
            ("bakery check", CHECKED),
            ("bakery check", CHECKED),
            ("bakery check", CHECKED),
        ],
    ),
    (
        "docs/choosing.md",
        &[
            ("flix debian:bookworm jq", Run),
            (
                "flix debian:bookworm git package:git",
                by(
                    "tests/tests/flix/packages.rs",
                    "a_package_of_debian_is_installed_and_works",
                    "package:git",
                ),
            ),
            (
                "flix --trace",
                by("crates/cli/tests/flix.rs", "a_trace_and_its_list_give_the_same_bytes", "--paths-to"),
            ),
            ("flatwrap", Run),
        ],
    ),
    (
        "docs/daemons.md",
        &[
            ("flix debian:bookworm redis", DAEMON),
            ("mkdir -p /etc/extensions", DAEMON),
            ("mkdir -p /etc/systemd", Run),
            (
                "flatwrap",
                by("tests/tests/machines/daemons.rs", "private_roots_and_configuration_images", "nginx"),
            ),
            ("cargo xtask bench", Parsed),
            ("bakery lint", Run),
        ],
    ),
    (
        "docs/flatwrap.md",
        &[
            (
                "flatwrap debian nginx",
                by(
                    "tests/tests/flatwrap/examples.rs",
                    "nginx_runs_and_is_a_service",
                    "/usr/sbin/start-stop-daemon",
                ),
            ),
            (
                "flatwrap --entrypoint",
                by("crates/cli/tests/flatwrap.rs", "the_image_says_how_its_programs_run", "--entrypoint"),
            ),
        ],
    ),
    ("docs/hosting.md", &[("cat", Run), ("bakery new", Run), ("echo", Run), ("bakery butane", Run)]),
    (
        "docs/installing.md",
        &[
            ("cargo install", Parsed),
            (
                "cargo xtask package",
                by("tests/tests/flix/installed.rs", "packages_install_and_run", "package"),
            ),
            ("mkdir", Run),
        ],
    ),
    (
        "docs/making-a-release.md",
        &[("bakery release", Run), ("bakery plan", Run), ("bakery plan", Run), ("gpg", Run)],
    ),
    ("docs/moving-over.md", &[("sudo rm", Run)]),
    (
        "docs/signatures.md",
        &[(
            "flix --policy",
            by("tests/tests/flix/command_line.rs", "a_policy_holds_for_all_commands", "--policy"),
        )],
    ),
    ("docs/testing.md", &[("cargo xtask test", Parsed), ("cargo xtask test --only e2e guides", Parsed)]),
    (
        "docs/using-extensions.md",
        &[
            ("install", Run),
            ("ln", Run),
            ("rm", Run),
            ("bakery butane", Run),
            (
                "bakery ignition",
                by("tests/tests/machines/provision.rs", "both_forms_are_the_same_and_valid", "ignition"),
            ),
            ("bakery boot", BOOTS),
            ("bakery lint", Run),
        ],
    ),
    ("docs/verity.md", &[("flix --verity", Run), ("openssl", Run), ("systemd-sysext", Run)]),
];

/// Extensions that are compiled, and a distribution's: each has a test that builds it.
const COMPILED: [(&str, Held); 6] = [
    ("bird", by("tests/tests/bakery/compiled.rs", "bird", "bird")),
    ("chrony", by("tests/tests/bakery/compiled.rs", "chrony_is_what_its_maker_signed", "chrony")),
    ("haproxy", by("tests/tests/bakery/compiled.rs", "haproxy", "haproxy")),
    (
        "keepalived",
        by(
            "tests/tests/bakery/keepalived.rs",
            "compiled_twice_it_is_the_same_and_runs_where_it_is_merged",
            "keepalived",
        ),
    ),
    // Its schedulers take long to compile: `crates.rs` builds a small project in the same way.
    ("scx", Parsed),
    ("tilde", by("tests/tests/bakery/compiled.rs", "tilde", "tilde")),
];

/// The blocks of an extension's page: one builds it, the next merges it. What a recipe shows before is about its use.
pub(crate) fn of_catalogue(name: &str, blocks: Vec<Block>) -> Result<Vec<(Block, Held)>> {
    let build = format!("bakery build --update {name}");
    let own =
        |block: &Block| block.lines.first().is_some_and(|line| line.split(" --set").next() == Some(&build));
    let at = blocks.iter().position(own).with_context(|| format!("{name}: no block with {build:?}"))?;
    ensure!(blocks.len() == at + 2, "{name}: expected one block after {build:?}");
    let whole = by(
        "tests/tests/bakery/catalogue.rs",
        "everything_builds_for_both_architectures_the_same_twice_and_is_merged_and_runs",
        "build",
    );
    let compiled = COMPILED.iter().find(|(of, _)| *of == name).map(|(_, way)| *way);
    let known = CATALOGUE.iter().any(|(of, ..)| *of == name).then_some(whole);
    let built = compiled.or(known).with_context(|| format!("{name}: no test builds it"))?;
    let way = |i: usize| match i.cmp(&at) {
        Ordering::Less => Parsed,
        Ordering::Equal => built,
        Ordering::Greater => Run,
    };
    Ok(blocks.into_iter().enumerate().map(|(i, block)| (block, way(i))).collect())
}
