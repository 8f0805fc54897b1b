//! The command line: one module for each command.

mod args;
pub use args::CatalogueArgs;
pub(crate) use args::SettingsArgs;
pub use args::WorkArgs;

mod bake_image;
mod boot;
mod build;
mod butane;
mod check;
mod docs;
mod hint;
mod inspect;
mod lint;
mod list;
mod lock;
mod new;
mod pack;
mod release;
mod schema;
mod sign_key;
mod test;
mod texts;
mod versions;
pub use hint::hint;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  bakery list
      List what can be built.
  bakery build --update tailscale
      Pin the newest tailscale in recipes.lock, and build tailscale-VERSION-ARCH.raw for this machine.
  bakery lock && bakery build --all -o images/
      Pin and build the whole catalogue for all architectures.
  bakery build docker 27.1.0 --arch arm64 --without containerd
      Build one pinned version for one architecture, without a component.
  bakery lint images/*.raw
      Check images for problems that would break a host.

Exit status: 0 on success, 1 on error, 2 on wrong usage.";

/// Build system extensions from recipes.
#[derive(Debug, Parser)]
#[command(name = "bakery", version, after_help = EXAMPLES, max_term_width = 110, arg_required_else_help = true,
          args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Command
    #[command(subcommand)]
    pub command: Option<Command>,

    #[allow(missing_docs)] // they would become help
    #[command(flatten)]
    pub texts: texts::TextArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the recipes
    List(list::Args),
    /// List upstream's versions
    Versions(Box<versions::Args>),
    /// Build images from recipes.lock
    Build(Box<build::Args>),
    /// Pin the inputs of builds in recipes.lock
    Lock(Box<lock::Args>),
    /// Build an image from a directory
    Pack(Box<pack::Args>),
    /// Check images for problems that would break a host
    Lint(Box<lint::Args>),
    /// Check what extensions would do to a host
    Check(Box<check::Args>),
    /// Print the contents of images
    Inspect(inspect::Args),
    /// Merge extensions and run the tests of their recipes
    Test(Box<test::Args>),
    /// Create a recipe skeleton
    New(new::Args),
    /// Generate the catalogue's documentation
    Docs(docs::Args),
    /// Print the JSON schema of recipe.toml
    Schema,
    /// List images that are missing from a release
    Plan(Box<release::PlanCommand>),
    /// Build a release: a directory that any web server can host
    Release(Box<release::ReleaseCommand>),
    /// Print a Butane configuration that provisions a machine with an extension
    Butane(butane::Args),
    /// Print an Ignition configuration that provisions a machine with an extension
    Ignition(butane::Args),
    /// Add extensions to a Flatcar OS image
    BakeImage(Box<bake_image::Args>),
    /// Boot a virtual machine with extensions merged
    Boot(Box<boot::Args>),
}

/// Does what the arguments ask for.
///
/// # Errors
/// Whatever went wrong, with the chain of reasons.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Some(command) = &args.command else { return texts::run(&args.texts) };
    match command {
        Command::List(args) => list::run(args),
        Command::Versions(args) => versions::run(args),
        Command::Build(args) => build::run(args),
        Command::Lock(args) => lock::run(args),
        Command::Pack(args) => pack::run(args),
        Command::Lint(args) => lint::run(args),
        Command::Check(args) => check::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Test(args) => test::run(args),
        Command::New(args) => new::run(args),
        Command::Docs(args) => docs::run(args),
        Command::Schema => schema::run(),
        Command::Plan(args) => release::plan(args),
        Command::Release(args) => release::release(args),
        Command::Butane(args) => butane::butane(args),
        Command::Ignition(args) => butane::ignition(args),
        Command::BakeImage(args) => bake_image::run(args),
        Command::Boot(args) => boot::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
