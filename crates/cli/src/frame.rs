//! The frame of a command: the words at its start, the exit status at its end.

use std::error::Error;
use std::ffi::OsStr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Arg, ArgMatches, Parser};

use crate::hint::hint;
use crate::message::{complain, has_printed, print, reasons};

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
    let parsed = command.try_get_matches().and_then(|matches| {
        JSON.store(wants_json(&matches), Ordering::Relaxed);
        A::from_arg_matches(&matches)
    });
    parsed.unwrap_or_else(|error| wrong(&error))
}

/// Whether `--json` was passed. A result in JSON takes an error in JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Whether a command or one of its subcommands has `--json`.
fn wants_json(matches: &ArgMatches) -> bool {
    let own = matches.try_get_one::<bool>("json").is_ok_and(|value| value == Some(&true));
    own || matches.subcommand().is_some_and(|(_, matches)| wants_json(matches))
}

/// Says what is wrong, with a hint if there is one, or what was asked for. With `--json`, also as an object on stdout.
#[allow(clippy::print_stderr)] // as clap does
fn wrong(error: &clap::Error) -> ! {
    let _ = error.print();
    let hint = error.source().and_then(hint);
    if let Some(hint) = &hint {
        eprintln!("hint: {hint}");
    }
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
    if error.use_stderr() && words.any(|word| word == "--json") {
        print_error(&usage_error(&error.render().to_string(), hint));
    }
    std::process::exit(error.exit_code())
}

/// What clap says on a terminal, as an object: its first paragraph, and its tip unless there is a better one.
fn usage_error(text: &str, hint: Option<String>) -> serde_json::Value {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let error = text.split("\n\n").next().unwrap_or_default();
    let tip = text.lines().find_map(|line| line.trim_start().strip_prefix("tip: "));
    let hint = hint.or_else(|| tip.map(words));
    serde_json::json!({ "error": words(error.strip_prefix("error: ").unwrap_or(error)), "hint": hint })
}

/// Whoever reads stdout may be gone. The error is on stderr, too.
fn print_error(error: &serde_json::Value) {
    let _ = print(format!("{error:#}\n").as_bytes());
}

/// The exit status. An error is printed with the first hint that is known for it or one of its sources, and with `--json` also
/// as an object on stdout, if nothing else has been printed there.
pub fn end<E>(result: Result<(), E>, hint: impl Fn(&(dyn Error + 'static)) -> Option<String>) -> ExitCode
where
    E: AsRef<dyn Error + 'static>,
{
    let Err(error) = result else { return ExitCode::SUCCESS };
    let error = error.as_ref();
    let hint = std::iter::successors(Some(error), |&e| e.source()).find_map(hint);
    complain(error, hint.as_deref());
    // Some commands have printed a result that says the same.
    if JSON.load(Ordering::Relaxed) && !has_printed() {
        print_error(&serde_json::json!({ "error": reasons(error), "hint": hint }));
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{ArgAction, Command};
    use serde_json::json;

    #[test]
    fn a_wrong_command_line_is_an_object() {
        let missing =
            "error: the following required arguments were not provided:\n  <NAME>\n  <PATH>...\n\nUsage: x\n";
        let expected = "the following required arguments were not provided: <NAME> <PATH>...";
        assert_eq!(usage_error(missing, None), json!({ "error": expected, "hint": null }));
        let unknown =
            "error: unexpected argument '--x' found\n\n  tip: a similar argument exists: '--y'\n\nUsage: x\n";
        let expected =
            json!({ "error": "unexpected argument '--x' found", "hint": "a similar argument exists: '--y'" });
        assert_eq!(usage_error(unknown, None), expected);
        assert_eq!(usage_error(unknown, Some("z".to_owned()))["hint"], "z");
    }

    #[test]
    fn json_is_found_wherever_it_is() {
        let json = || Arg::new("json").long("json").action(ArgAction::SetTrue);
        let command = Command::new("a")
            .arg(json())
            .subcommand(Command::new("b").arg(json()))
            .subcommand(Command::new("c"));
        let wants = |words: &[&str]| wants_json(&command.clone().get_matches_from(words));
        assert!(wants(&["a", "--json"]) && wants(&["a", "b", "--json"]));
        assert!(!wants(&["a"]) && !wants(&["a", "b"]) && !wants(&["a", "c"]));
    }
}
