//! The frame of a command: the words at its start, the exit status at its end.

use std::error::Error;
use std::ffi::OsStr;
use std::process::ExitCode;

use clap::{Arg, Parser};

use crate::hint::hint;
use crate::message::complain;

/// The command line. Ends the process where there is nothing to go on with: help, the version, a wrong command line.
///
/// Empty variables count as unset, as they did for the shell tools. A bare command shows its help, whatever is set.
pub fn parse<A: Parser>() -> A {
    let bare = std::env::args_os().len() <= 1;
    let empty = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| value.is_empty());
    // For `arg_required_else_help`, too, a variable is an argument.
    let drop = |arg: &Arg| arg.get_env().is_some_and(|variable| bare || empty(variable));
    let unset = |arg: Arg| if drop(&arg) { arg.env(None::<&str>) } else { arg };
    let command = A::command().mut_args(unset).arg_required_else_help(true);
    let parsed = command.try_get_matches().and_then(|matches| A::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| wrong(&error))
}

/// Says what is wrong, with a hint if there is one, or what was asked for.
#[allow(clippy::print_stderr)] // as clap does
fn wrong(error: &clap::Error) -> ! {
    let _ = error.print();
    if let Some(hint) = error.source().and_then(hint) {
        eprintln!("hint: {hint}");
    }
    std::process::exit(error.exit_code())
}

/// The exit status. An error is printed with the first hint that is known for it or one of its sources.
pub fn end<E>(result: Result<(), E>, hint: impl Fn(&(dyn Error + 'static)) -> Option<String>) -> ExitCode
where
    E: AsRef<dyn Error + 'static>,
{
    let Err(error) = result else { return ExitCode::SUCCESS };
    let error = error.as_ref();
    let hint = std::iter::successors(Some(error), |&e| e.source()).find_map(hint);
    complain(error, hint.as_deref());
    ExitCode::FAILURE
}
