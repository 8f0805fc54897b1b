//! `bakery --completions` and `bakery --man`

use anyhow::Context as _;
use clap::CommandFactory as _;
use cli::{Shell, print};

/// Texts for a system that `bakery` is installed on.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TextArgs {
    /// Print shell completions
    #[arg(long, value_name = "SHELL")]
    completions: Option<Shell>,

    /// Print the manual page, of bakery itself or of one of its commands
    #[arg(long, value_name = "COMMAND", num_args = 0..=1, require_equals = true, conflicts_with = "completions")]
    man: Option<Option<String>>,
}

pub(super) fn run(args: &TextArgs) -> anyhow::Result<()> {
    let mut command = super::Args::command();
    let text = match (args.completions, &args.man) {
        (Some(shell), _) => cli::completions(shell, command),
        (None, Some(name)) => {
            // Gives the commands their whole names.
            command.build();
            let command = match name {
                Some(name) => command
                    .find_subcommand(name)
                    .with_context(|| format!("--man: bakery has no command {name:?}"))?
                    .clone(),
                None => command,
            };
            cli::manual_page(command).context("manual page")?
        }
        // `bakery --`: nothing was asked for.
        (None, None) => command.render_help().to_string().into_bytes(),
    };
    print(&text).context("stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_under_its_whole_name() {
        let mut command = super::super::Args::command();
        command.build();
        for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let page = String::from_utf8(cli::manual_page(sub.clone()).unwrap()).unwrap();
            // Hyphens are escaped in roff.
            let name = sub.get_name().replace('-', "\\-");
            assert!(page.contains(&format!("\nbakery\\-{name} \\- ")), "{page}");
            assert!(page.contains(&format!("\\fBbakery {name}\\fR")), "{page}");
        }
        let page = String::from_utf8(cli::manual_page(command).unwrap()).unwrap();
        assert!(page.contains("bakery\\-bake\\-image(1)"), "{page}");
    }
}
