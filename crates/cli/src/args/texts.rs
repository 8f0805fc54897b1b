//! Texts that are made from a command's definition.

use std::io;

use clap::Command;
pub use clap_complete::Shell;

/// A script that completes the command's words in a shell.
pub fn completions(shell: Shell, mut command: Command) -> Vec<u8> {
    let mut out = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut out);
    out
}

/// The command's manual page, in roff. Of a command with subcommands, [`Command::build`] is called first, so that theirs name it.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn manual_page(command: Command) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    clap_mangen::Man::new(command).render(&mut out)?;
    Ok(out)
}
