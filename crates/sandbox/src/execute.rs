//! From a command to the layer that it makes.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use tree::{Event, Events, Kind, Meta, Node, StaticPath, Tree, TreePath};

use oci::{Config, Rootfs};

use crate::driver::{Helper, Outcome};
use crate::wire::Access;
use crate::{Mode, Network, Run, SandboxError, explain, helper, packages, prepare, traced};
use store::{Cache, Digest, Environment, LayerBlob, cache::ExpectedLayer};

/// The cache's key space for runs.
const KEYS: &str = "sandbox";

/// Where a traced command finds its input files.
const TMP: &str = "/tmp";

/// The proxies of commands that use the host's network; set by [`init`].
static PROXIES: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

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
    if !run.rerun
        && let Some(diff_id) = cache.key(KEYS, &key)?.and_then(|text| text.parse::<Digest>().ok())
        && let Some(layer) = cache.layer(&diff_id)?
    {
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
    let scratch = cache.scratch("sandbox")?;
    let layer = run_in(tree, config, run, scratch.path(), events, |changes| {
        Ok(cache.ingest_layer(changes, &ExpectedLayer::default(), events)?)
    })?;
    scratch.close()?;
    cache.set_key(KEYS, &key, &layer.diff_id.to_string())?;
    Ok(layer)
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
    let result = run_there(tree, config, run, false, scratch, events, take);
    // The helper did so, if there was one, as the owner of what the user may not remove.
    let _ = store::cache::remove_tree(scratch);
    match result? {
        Outcome::Changes(taken) => Ok(taken),
        _ => Err(SandboxError::Protocol { expected: "the changes of a command" }),
    }
}

/// Runs a command in a root file system and gives the paths of `tree` that it looked up: files that it opened, executed,
/// asked for or read as a link, and the directories and symlinks on the way, also of all programs that it started. What the
/// command changed is thrown away. `files` are there for the run alone: a tree of what is in its /tmp.
///
/// Nothing below /dev, /proc and /sys is among the paths, nor is anything that the command itself has made. A path that
/// wasn't there counts as nothing. `scratch` is an empty directory, and removed afterwards.
///
/// # Errors
/// No sandbox works here, or none that sees what a command does (Linux 5.5; not below another supervisor of system calls);
/// the command didn't end with status 0.
pub fn trace(
    tree: &Tree,
    config: &Config,
    run: &Run,
    files: Option<&Tree>,
    scratch: &Path,
    events: &dyn Events,
) -> Result<BTreeSet<TreePath>, SandboxError> {
    let lent = files.map(|files| lend(tree, files)).transpose()?;
    let seen = lent.as_ref().unwrap_or(tree);
    let result = run_traced(seen, config, run, scratch, events);
    let _ = store::cache::remove_tree(scratch);
    // Links among the input files lead to files of the image.
    let mut paths = traced::paths(seen, &result?);
    paths.retain(|path| tree.contains(path));
    Ok(paths)
}

/// The image with files in its /tmp.
fn lend(tree: &Tree, files: &Tree) -> Result<Tree, SandboxError> {
    let mut lent = tree.clone();
    let tmp = match lent.resolve(TMP, true) {
        Ok(resolved) => resolved.path,
        Err(_) => {
            let tmp = StaticPath::new(TMP).path();
            lent.remove(&tmp);
            lent.insert(tmp.clone(), Node { meta: Meta::with_mode(0o1777), kind: Kind::Dir })?;
            tmp
        }
    };
    for (path, node) in files.iter().filter(|(path, _)| !path.is_root()) {
        let place = tmp.join(path.as_relative())?;
        lent.remove(&place);
        let mut node = node.clone();
        (node.meta.uid, node.meta.gid) = (0, 0);
        lent.insert(place, node)?;
    }
    Ok(lent)
}

fn run_traced(
    tree: &Tree,
    config: &Config,
    run: &Run,
    scratch: &Path,
    events: &dyn Events,
) -> Result<Vec<Access>, SandboxError> {
    let outcome = run_there(tree, config, run, true, scratch, events, |_| Ok(()))?;
    match outcome {
        Outcome::Traced(looked) => Ok(looked),
        _ => Err(SandboxError::Protocol { expected: "the paths of a traced command" }),
    }
}

fn run_there<T: Send>(
    tree: &Tree,
    config: &Config,
    run: &Run,
    traced: bool,
    scratch: &Path,
    events: &dyn Events,
    take: impl FnOnce(&mut (dyn Read + Send)) -> Result<T, SandboxError>,
) -> Result<Outcome<T>, SandboxError> {
    let proxies = PROXIES.get().ok_or(SandboxError::NotInitialised)?;
    let argv0 = run.argv.first().ok_or(SandboxError::Empty)?;
    let mut env = prepare::environment(config, run);
    for (name, value) in proxies {
        if run.network == Network::Host && !env.iter().any(|(n, _)| n == name) {
            env.push((name.clone(), value.clone()));
        }
    }
    let modes = match run.mode {
        Some(mode) => vec![mode],
        None if rustix::process::geteuid().is_root() => vec![Mode::Root, Mode::Subuid, Mode::Single],
        None => vec![Mode::Subuid, Mode::Single],
    };
    let helper = Helper::start(&modes, run, scratch, events)?;
    let prepared = prepare::prepare(tree, run, helper.mode, &env, prepare::host_files(run.network), traced)?;
    events.event(Event::Step(run.display().into()));
    match helper.run(prepared, events, take)? {
        (done @ (Outcome::Changes(_) | Outcome::Traced(_)), _) => Ok(done),
        (Outcome::NoExec(errno), _) => Err(explain::explain(tree, argv0, &env, errno)),
        (Outcome::Ended(status), tail) => Err(match &run.installs {
            Some(packages) => SandboxError::Install {
                packages: packages.join(", "),
                reason: packages::reason(&tail).unwrap_or_else(|| status.to_string()),
            },
            None => SandboxError::Failed { command: run.display(), status, tail },
        }),
    }
}
