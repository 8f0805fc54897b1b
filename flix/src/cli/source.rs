//! The image's tree, with all that the user wants of it.

use oci::ImageRef;
use oci::sandbox::packages;
use sysext::{Event, Events, ExtensionName, Tree, TreePath};

use super::Args;
use crate::Wanted;

/// Pulls or reads the image, runs and installs in it what the arguments say, and installs the package of the extension's
/// name if something wanted is missing.
pub fn rootfs(
    args: &Args,
    image: &ImageRef,
    name: &ExtensionName,
    events: &dyn Events,
) -> anyhow::Result<Tree> {
    let context = args.source.context()?;
    let wanted: Vec<TreePath> = args.paths.iter().filter_map(|w| TreePath::new(&w.source).ok()).collect();
    let rootfs = context.rootfs(image, &wanted, events)?;
    let rootfs = args.sandbox.apply(rootfs, &context.cache, events)?;
    let absent = absent(&rootfs.tree, &args.paths);
    let Some(first) = absent.first() else { return Ok(rootfs.tree) };
    // Whoever says what to install or to run knows better.
    let told = args.sandbox.no_install || !args.sandbox.package.is_empty() || !args.sandbox.run.is_empty();
    let Some(manager) = packages::detect(&rootfs.tree).filter(|_| !told && !is_this_machine(image)) else {
        return Ok(rootfs.tree);
    };
    let package = name.as_str().to_owned();
    events.event(Event::Note(
        format!("{} is not in {image}: installing its package {package} with {manager}", first.source).into(),
    ));
    Ok(args.sandbox.install(rootfs, &[package], &context.cache, events)?.tree)
}

/// Nobody who asks for a program of his own machine's root wants a copy of all of it for a package to be installed in.
fn is_this_machine(image: &ImageRef) -> bool {
    match image {
        ImageRef::Dir(path) => path.canonicalize().is_ok_and(|p| p == std::path::Path::new("/")),
        _ => false,
    }
}

/// Words of the request that lead nowhere in the image.
fn absent<'a>(tree: &Tree, wanted: &'a [Wanted]) -> Vec<&'a Wanted> {
    wanted.iter().filter(|w| !w.is_in(tree)).collect()
}
