//! From a command to the layer that it makes.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::OnceLock;

use tree::{Event, Events, Kind, Meta, Node, StaticPath, Tree, TreePath};

use oci::{Config, Rootfs};

use crate::driver::{self, Helper, Outcome, RawProbe, Root};
use crate::missing::Looked;
use crate::output::Lines;
use crate::prepare::Prepared;
use crate::wire::Access;
use crate::{End, Mode, Network, Run, SandboxError, explain, helper, packages, prepare, traced};
use store::{Cache, Digest, Environment, LayerBlob, cache::ExpectedLayer};

/// The cache's key space for runs.
const KEYS: &str = "sandbox";

/// Where a traced command finds its input files.
const TMP: &str = "/tmp";

/// The proxies of commands that use the host's network; set by [`init`].
static PROXIES: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

/// Names and values of an environment.
type Variables = Vec<(OsString, OsString)>;

/// First thing in `main`: if this program was executed as the sandbox's helper, becomes that, and doesn't come back. The
/// environment has the proxies for commands that use the host's network.
pub fn init(environment: &Environment) {
    PROXIES.get_or_init(|| prepare::proxies(|name| environment.raw(name).map(OsStr::to_owned)));
    if helper::is_wanted() {
        std::process::exit(helper::main());
    }
}

/// Runs a command in a root file system, which becomes what the command makes of it.
///
/// # Errors
/// As [`run_in`]; the cache's errors.
pub fn run(
    mut rootfs: Rootfs,
    run: &Run,
    cache: &Cache,
    events: &dyn Events,
) -> Result<Rootfs, SandboxError> {
    let layer = layer(&rootfs.tree, &rootfs.id, &rootfs.config, run, cache, events)?;
    rootfs.apply(&layer)?;
    Ok(rootfs)
}

/// The layer that a command makes of a root file system. It is kept in the cache under all that goes into it (`id` stands
/// for the tree), so the same run costs nothing the second time.
///
/// # Errors
/// As [`run_in`]; the cache's errors.
pub fn layer(
    tree: &Tree,
    id: &Digest,
    config: &Config,
    run: &Run,
    cache: &Cache,
    events: &dyn Events,
) -> Result<LayerBlob, SandboxError> {
    let key = prepare::key(id, run, &prepare::environment(config, run));
    if let Some(layer) = kept(run, &key, cache)? {
        return Ok(layer);
    }
    if run.offline && run.installs.is_some() {
        return Err(SandboxError::Offline { command: run.display() });
    }
    if run.offline && run.network != Network::None {
        // A result of its own, since it may well be another one.
        let run = Run { network: Network::None, ..run.clone() };
        return layer(tree, id, config, &run, cache, events);
    }
    let waiting = || {
        let text = format!("{}: another process does the same, waiting for it", run.display());
        events.event(Event::Note(text.into()));
    };
    let _lock = cache.lock(KEYS, &key, waiting)?;
    if let Some(layer) = kept(run, &key, cache)? {
        return Ok(layer);
    }
    let scratch = cache.scratch("sandbox")?;
    let layer = run_in(tree, config, run, scratch.path(), events, |changes| {
        Ok(cache.ingest_layer(changes, &ExpectedLayer::default(), events)?)
    })?;
    scratch.close()?;
    cache.set_key(KEYS, &key, &layer.diff_id.to_string())?;
    Ok(layer)
}

/// What the same run has made before.
fn kept(run: &Run, key: &str, cache: &Cache) -> Result<Option<LayerBlob>, SandboxError> {
    let diff_id = cache.key(KEYS, key)?.and_then(|text| text.parse::<Digest>().ok());
    match diff_id.filter(|_| !run.rerun) {
        Some(diff_id) => Ok(cache.layer(&diff_id)?),
        None => Ok(None),
    }
}

/// Runs a command in a root file system and gives the tar of its changes to `take`. Nothing is cached; `scratch` is an
/// empty directory, and removed afterwards.
///
/// # Errors
/// No sandbox works here, or the command didn't end with status 0.
pub fn run_in<T: Send>(
    tree: &Tree,
    config: &Config,
    run: &Run,
    scratch: &Path,
    events: &dyn Events,
    take: impl FnOnce(&mut (dyn Read + Send)) -> Result<T, SandboxError>,
) -> Result<T, SandboxError> {
    let result = run_there(tree, config, run, scratch, events, take);
    // The helper did so, if there was one, as the owner of what the user may not remove.
    let _ = store::cache::remove_tree(scratch);
    result
}

/// Runs commands, each by itself, in a root file system, and gives the paths of it that each looked up: files that it opened,
/// executed, asked for or read as a link, and the directories and symlinks on the way, also of all programs that it started.
/// What the commands changed is thrown away. `files` are there for the runs alone: a tree of what is in their /tmp. All run in
/// the mode and with the network of the first.
///
/// Nothing below /dev, /proc and /sys is among the paths, nor is anything that the command itself has made. A path that
/// wasn't there counts as nothing. The root file system is written once, and stays in the cache where its files are the user's.
///
/// # Errors
/// No sandbox works here, or none that sees what a command does (Linux 5.5; not below another supervisor of system calls);
/// a command didn't end with status 0; the cache's errors.
pub fn trace(
    rootfs: &Rootfs,
    runs: &[Run],
    files: Option<&Tree>,
    cache: &Cache,
    events: &dyn Events,
) -> Result<Vec<BTreeSet<TreePath>>, SandboxError> {
    let tree = &rootfs.tree;
    let lent = files.map(|files| lend(tree, files)).transpose()?;
    let seen = lent.as_ref().map_or(tree, |lent| &lent.all);
    let mut out = Vec::new();
    while let Some(left) = runs.get(out.len()..).filter(|left| !left.is_empty()) {
        let scratch = cache.scratch("trace")?;
        let result = run_traced(rootfs, lent.as_ref(), left, scratch.path(), cache, events);
        // The helper did so, if there was one, as the owner of what the user may not remove.
        let _ = store::cache::remove_tree(scratch.path());
        for looked in result? {
            // Links among the input files lead to files of the image.
            let mut paths = traced::paths(seen, &looked);
            paths.retain(|path| tree.contains(path));
            out.push(paths);
        }
    }
    Ok(out)
}

/// Files of the user's that commands see.
struct Lent {
    /// The image with them in its /tmp.
    all: Tree,
    /// They alone.
    only: Tree,
}

fn lend(tree: &Tree, files: &Tree) -> Result<Lent, SandboxError> {
    let (mut all, mut only) = (tree.clone(), Tree::default());
    let tmp = match all.resolve(TMP, true) {
        Ok(resolved) => resolved.path,
        Err(_) => {
            let tmp = StaticPath::new(TMP).path();
            all.remove(&tmp);
            all.insert(tmp.clone(), Node { meta: Meta::with_mode(0o1777), kind: Kind::Dir })?;
            tmp
        }
    };
    let mut above = vec![tmp.clone()];
    above.extend(std::iter::successors(tmp.parent(), TreePath::parent));
    for dir in above.iter().rev().filter(|dir| !dir.is_root()) {
        let meta = all.get(dir).map_or_else(Meta::dir, |node| node.meta.clone());
        only.insert(dir.clone(), Node { meta, kind: Kind::Dir })?;
    }
    for (path, node) in files.iter().filter(|(path, _)| !path.is_root()) {
        let place = tmp.join(path.as_relative())?;
        all.remove(&place);
        let mut node = node.clone();
        (node.meta.uid, node.meta.gid) = (0, 0);
        all.insert(place.clone(), node.clone())?;
        only.insert(place, node)?;
    }
    Ok(Lent { all, only })
}

/// What the first commands looked up: all of them where they leave the root as it is, else the first alone.
fn run_traced(
    rootfs: &Rootfs,
    lent: Option<&Lent>,
    runs: &[Run],
    scratch: &Path,
    cache: &Cache,
    events: &dyn Events,
) -> Result<Vec<Vec<Access>>, SandboxError> {
    let first = runs.first().ok_or(SandboxError::Empty)?;
    let (config, is_kept) = (&rootfs.config, |mode| mode != Mode::Subuid);
    let helper = start(first, scratch, events)?;
    let (mode, overlay) = (helper.mode, helper.overlay);
    let host_files = prepare::host_files(first.network);
    let tree = match lent.filter(|_| !overlay || !is_kept(mode)) {
        Some(lent) => &lent.all,
        None => &rootfs.tree,
    };
    let mut key = format!("trace 1 {} {mode}", rootfs.id);
    host_files.iter().for_each(|(path, _)| key.extend([" ", path]));
    let prepared = prepare::prepare(tree, first, mode, &environment(config, first)?, host_files, true)?;
    let Prepared { tree, go } = prepared;
    let runs = if overlay { runs } else { &runs[..1] };
    let mut commands = Vec::new();
    for run in runs {
        let mut next = go.with(&run.argv, &environment(config, run)?);
        if commands.is_empty() {
            next.fixups.clone_from(&go.fixups);
        }
        commands.push(next);
    }
    let shown: Vec<String> = runs.iter().map(Run::display).collect();
    events.event(Event::Step(shown.join(", ").into()));
    let no_changes = |_: &mut (dyn Read + Send)| Ok(());
    let (outcomes, tail) = if overlay && is_kept(mode) {
        let bytes = tree.iter().filter_map(|(_, node)| node.content()).map(tree::Content::len).sum();
        let kept = cache.kept_tree(&key, bytes, |dir| driver::write(&tree, dir, mode))?;
        commands.iter_mut().for_each(|go| go.lent = lent.is_some());
        helper.run(&Root::Kept(kept.path(), lent.map(|l| &l.only)), commands, events, no_changes)?
    } else {
        helper.run(&Root::Tree(&tree), commands, events, no_changes)?
    };
    let mut out = Vec::new();
    for (outcome, run) in outcomes.into_iter().zip(runs) {
        match outcome {
            Outcome::Traced(looked) => out.push(looked),
            other => return Err(failed(other, run, &rootfs.tree, &environment(config, run)?, &tail)),
        }
    }
    Ok(out)
}

/// What came of a command that was tried.
#[derive(Debug, Clone)]
pub struct Probed {
    /// How it ended.
    pub end: End,
    /// The first lines that it printed.
    pub output: Vec<String>,
    /// The paths that it looked up.
    pub looked: Looked,
}

/// Tries commands in a root file system, one after the other, without a network, as nobody but root of a user name space, and
/// under the limits of `run`. What they change is thrown away. `scratch` is an empty directory, and removed afterwards.
///
/// # Errors
/// No sandbox works here, or none that sees what a command does.
pub fn probe(
    tree: &Tree,
    config: &Config,
    run: &Run,
    commands: &[Vec<OsString>],
    scratch: &Path,
    events: &dyn Events,
) -> Result<Vec<Probed>, SandboxError> {
    let result = start_probes(tree, config, run, commands, scratch, events);
    let _ = store::cache::remove_tree(scratch);
    let probed = result?.into_iter().map(|(end, output, looked)| {
        let looked = Looked(looked);
        let mut lines = Vec::new();
        let mut cutter = Lines::default();
        cutter.take(&output, &mut |line| lines.push(line));
        cutter.finish(&mut |line| lines.push(line));
        Probed { end, output: lines, looked }
    });
    Ok(probed.collect())
}

fn start_probes(
    tree: &Tree,
    config: &Config,
    run: &Run,
    commands: &[Vec<OsString>],
    scratch: &Path,
    events: &dyn Events,
) -> Result<Vec<RawProbe>, SandboxError> {
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    let run = Run { network: Network::None, no_overlay: true, ..run.clone() };
    // A name space without any other user is made in no time, and takes no other program.
    let modes = match run.mode {
        Some(mode) => vec![mode],
        // The image's program isn't worth the host's root.
        None if rustix::process::geteuid().is_root() => vec![Mode::Single],
        None => vec![Mode::Single, Mode::Subuid],
    };
    let env = environment(config, &run)?;
    let helper = Helper::start(&modes, &run, scratch, events)?;
    let host_files = prepare::host_files(run.network);
    let Prepared { tree, mut go } = prepare::prepare(tree, &run, helper.mode, &env, host_files, true)?;
    let bytes = |word: &OsString| word.clone().into_vec();
    go.probes = commands.iter().map(|words| words.iter().map(bytes).collect()).collect();
    let no_changes = |_: &mut (dyn Read + Send)| Ok(());
    let (outcomes, _) = helper.run(&Root::Tree(&tree), vec![go], events, no_changes)?;
    match outcomes.into_iter().next() {
        Some(Outcome::Probed(probed)) => Ok(probed),
        _ => Err(SandboxError::Protocol { expected: "the commands that were tried" }),
    }
}

fn run_there<T: Send>(
    tree: &Tree,
    config: &Config,
    run: &Run,
    scratch: &Path,
    events: &dyn Events,
    take: impl FnOnce(&mut (dyn Read + Send)) -> Result<T, SandboxError>,
) -> Result<T, SandboxError> {
    let env = environment(config, run)?;
    let helper = start(run, scratch, events)?;
    let prepared = prepare::prepare(tree, run, helper.mode, &env, prepare::host_files(run.network), false)?;
    events.event(Event::Step(run.display().into()));
    let Prepared { tree: written, go } = prepared;
    let (outcomes, tail) = helper.run(&Root::Tree(&written), vec![go], events, take)?;
    match outcomes.into_iter().next() {
        Some(Outcome::Changes(taken)) => Ok(taken),
        Some(other) => Err(failed(other, run, tree, &env, &tail)),
        None => Err(SandboxError::Protocol { expected: "the changes of a command" }),
    }
}

/// The command's environment, with the host's proxies if it uses the host's network.
fn environment(config: &Config, run: &Run) -> Result<Variables, SandboxError> {
    let proxies = PROXIES.get().ok_or(SandboxError::NotInitialised)?;
    let mut env = prepare::environment(config, run);
    for (name, value) in proxies {
        if run.network == Network::Host && !env.iter().any(|(n, _)| n == name) {
            env.push((name.clone(), value.clone()));
        }
    }
    Ok(env)
}

fn start(run: &Run, scratch: &Path, events: &dyn Events) -> Result<Helper, SandboxError> {
    if run.argv.is_empty() {
        return Err(SandboxError::Empty);
    }
    let modes = match run.mode {
        Some(mode) => vec![mode],
        None if rustix::process::geteuid().is_root() => vec![Mode::Root, Mode::Subuid, Mode::Single],
        None => vec![Mode::Subuid, Mode::Single],
    };
    Helper::start(&modes, run, scratch, events)
}

/// Why a command has no result.
fn failed<T>(
    outcome: Outcome<T>,
    run: &Run,
    tree: &Tree,
    env: &[(OsString, OsString)],
    tail: &[String],
) -> SandboxError {
    match outcome {
        Outcome::Stopped(exceeded) => SandboxError::Stopped { command: run.display(), exceeded },
        Outcome::NoExec(errno) => match run.argv.first() {
            Some(argv0) => explain::explain(tree, argv0, env, errno),
            None => SandboxError::Empty,
        },
        Outcome::Ended(status) => match &run.installs {
            Some(packages) => SandboxError::Install {
                packages: packages.join(", "),
                reason: packages::reason(tail).unwrap_or_else(|| status.to_string()),
            },
            None => SandboxError::Failed { command: run.display(), status, tail: tail.to_vec() },
        },
        Outcome::Changes(_) | Outcome::Traced(_) | Outcome::Probed(_) => {
            SandboxError::Protocol { expected: "the result of a command" }
        }
    }
}
