//! Options that do something else than making an extension.

use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use clap::{ArgAction, Args, CommandFactory};
use store::{Cache, CacheError, cache::Prune};
use tree::Size;

use super::SourceArgs;
use super::texts::{Shell, completions, manual_page};

/// What a command can do beside its work.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Other actions")]
pub(crate) struct OtherArgs {
    /// List the contents of the cache
    #[arg(long)]
    pub(crate) cache_list: bool,

    /// Remove cache entries that haven't been used for this long: 30d, 12h, or 0d for everything
    #[arg(long, value_name = "AGE", num_args = 0..=1, default_missing_value = "30d", require_equals = true,
          value_parser = parse_age)]
    pub(crate) cache_prune: Option<Duration>,

    /// Print shell completions
    #[arg(long, value_name = "SHELL")]
    pub completions: Option<Shell>,

    /// Print the manual page
    #[arg(long, action = ArgAction::SetTrue)]
    pub man: bool,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OtherError {
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The text itself.
    #[error("manual page or list: {0}")]
    Text(#[from] io::Error),
}

impl OtherArgs {
    /// The options' names, for `required_unless_present_any` of a command's own arguments.
    pub(crate) const IDS: [&str; 4] = ["cache_list", "cache_prune", "completions", "man"];

    /// Does what is asked for and gives what to print; none if nothing is asked for. `A` is the whole command.
    ///
    /// # Errors
    /// The cache's.
    pub(crate) fn run<A: CommandFactory>(&self, source: &SourceArgs) -> Result<Option<Vec<u8>>, OtherError> {
        let mut out = Vec::new();
        if let Some(shell) = self.completions {
            out = completions(shell, A::command());
        } else if self.man {
            out = manual_page(A::command())?;
        } else if self.cache_list {
            list(&cache(source)?, &mut out)?;
        } else if let Some(age) = self.cache_prune {
            let what = match age.is_zero() {
                true => Prune { all: true, ..Prune::default() },
                false => Prune { older_than: Some(age), ..Prune::default() },
            };
            let pruned = cache(source)?.prune(&what)?;
            let (entries, size, in_use) = (pruned.entries, Size(pruned.bytes), pruned.in_use);
            writeln!(out, "{entries} entries removed, {size}; {in_use} in use")?;
        } else {
            return Ok(None);
        }
        Ok(Some(out))
    }
}

fn cache(source: &SourceArgs) -> Result<Cache, CacheError> {
    let dir = source.cache_dir.as_deref().filter(|d| !d.as_os_str().is_empty());
    Cache::open_or_default(dir, &crate::environment())
}

fn list(cache: &Cache, out: &mut Vec<u8>) -> Result<(), OtherError> {
    let entries = cache.list()?;
    let mut total = 0;
    for entry in &entries {
        total += entry.bytes;
        let age = SystemTime::now().duration_since(entry.last_used).unwrap_or_default().as_secs();
        let age = match age {
            0..3600 => format!("{} min", age / 60),
            3600..172_800 => format!("{} h", age / 3600),
            _ => format!("{} d", age / 86_400),
        };
        let kind = format!("{:?}", entry.kind).to_lowercase();
        let used = if entry.in_use { " in use" } else { "" };
        writeln!(out, "{:>10}  {age:>7}  {kind:<7}  {}{used}", Size(entry.bytes).to_string(), entry.name)?;
    }
    writeln!(out, "{} entries, {}", entries.len(), Size(total))?;
    Ok(())
}

fn parse_age(text: &str) -> Result<std::time::Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds: u64 = match unit {
        "d" | "" => 86_400,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return Err("expected a number with d, h, m or s".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a number with d, h, m or s".to_owned())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(|| "is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (text, expected) in [
            ("30d", Some(2_592_000)),
            ("2", Some(172_800)),
            ("12h", Some(43_200)),
            ("0d", Some(0)),
            ("x", None),
            ("1w", None),
            ("", None),
        ] {
            assert_eq!(parse_age(text).ok().map(|d| d.as_secs()), expected, "{text:?}");
        }
    }
}
