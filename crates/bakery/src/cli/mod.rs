//! The command line: one module for each command.

mod args;
pub use args::{CatalogueArgs, SettingsArgs, WorkArgs};

mod bake_image;
mod boot;
mod build;
mod butane;
mod docs;
mod hint;
mod inspect;
mod lint;
mod list;
mod lock;
mod new;
mod parallel;
mod release;
mod schema;
mod test;
mod versions;
pub use hint::hint;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  bakery list
      What can be built.
  bakery build --update tailscale
      The newest tailscale, for this machine: pins it in recipes.lock, and makes tailscale-VERSION-ARCH.raw of it.
  bakery lock && bakery build --all -o images/
      The whole catalogue: what upstream has now is pinned, then built, for all architectures.
  bakery build docker 27.1.0 --arch arm64 --without containerd
      What is pinned of that, and nothing else.
  bakery lint images/*.raw
      What would hurt a host, in each of them and between them.

Exit status: 0 if all went well, 1 after an error, 2 for a wrong command line.";

/// Builds system extensions from recipes.
#[derive(Debug, Parser)]
#[command(name = "bakery", version, after_help = EXAMPLES, max_term_width = 110, arg_required_else_help = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the recipes
    List(list::Args),
    /// Lists the versions that upstream has
    Versions(Box<versions::Args>),
    /// Makes images of what is pinned
    Build(Box<build::Args>),
    /// Pins what builds are made of
    Lock(Box<lock::Args>),
    /// Looks for what would hurt a host
    Lint(Box<lint::Args>),
    /// Tells what is in an image
    Inspect(inspect::Args),
    /// Merges extensions and runs their recipes' tests
    Test(Box<test::Args>),
    /// Starts a recipe
    New(new::Args),
    /// Writes a page for each extension, and the table of all
    Docs(docs::Args),
    /// Prints the JSON schema of recipe.toml
    Schema,
    /// Tells what a release lacks
    Plan(Box<release::PlanCommand>),
    /// Builds a release: a folder that any web server can host
    Release(Box<release::ReleaseCommand>),
    /// Prints a Butane configuration that gives a machine an extension
    Butane(butane::Args),
    /// Prints an Ignition configuration that gives a machine an extension
    Ignition(butane::Args),
    /// Puts extensions into a Flatcar OS image
    BakeImage(Box<bake_image::Args>),
    /// Boots a virtual machine with extensions merged
    Boot(Box<boot::Args>),
}

/// Does what the arguments ask for.
///
/// # Errors
/// Whatever went wrong, with the chain of reasons.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Versions(args) => versions::run(args),
        Command::Build(args) => build::run(args),
        Command::Lock(args) => lock::run(args),
        Command::Lint(args) => lint::run(args),
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
