//! Which hosts merge an extension, by their architecture.

use std::collections::BTreeSet;
use std::str::FromStr;

use tree::{Arch, Event, Events, Machine, arch::UnknownArch};

/// `--host-arch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostArch {
    /// All hosts: there is no `ARCHITECTURE=`.
    Any,
    /// Those of this one.
    Is(Arch),
}

impl FromStr for HostArch {
    type Err = UnknownArch;
    fn from_str(s: &str) -> Result<Self, UnknownArch> {
        match s {
            "any" => Ok(HostArch::Any),
            s => s.parse().map(HostArch::Is),
        }
    }
}

/// The release file's `ARCHITECTURE=`: that of the hosts, which needn't be the programs' own. systemd-sysext holds it
/// against uname(2)'s. `programs`: what the programs are for; `image`: what the image was chosen for. What a host needs
/// to run the programs is reported.
pub(super) fn architecture(
    asked: Option<HostArch>,
    programs: &BTreeSet<Machine>,
    image: Option<Arch>,
    events: &dyn Events,
) -> Option<Arch> {
    let host = match asked {
        Some(HostArch::Any) => return None,
        Some(HostArch::Is(arch)) => arch,
        None => default(programs, image)?,
    };
    for &machine in programs {
        let Some(compat) = host.compat(machine) else { continue };
        let text = format!(
            "programs are for {machine}, the release file says ARCHITECTURE={host}: they take {}",
            compat.needs
        );
        match (compat.usual, asked) {
            (true, None) => events.event(Event::Note(format!("{text} (--host-arch says otherwise)").into())),
            (true, Some(_)) => {}
            (false, _) => events.event(Event::Warning(text.into())),
        }
    }
    if asked.is_none() && host == Arch::Arm {
        let text = "ARCHITECTURE=arm: hosts with a 64-bit kernel merge it with --host-arch arm64 only";
        events.event(Event::Note(text.into()));
    }
    Some(host)
}

fn default(programs: &BTreeSet<Machine>, image: Option<Arch>) -> Option<Arch> {
    let runs = |host: Arch, m: Machine| host.machine() == m || host.compat(m).is_some();
    let first = || {
        let own = Arch::ALL.into_iter().find(|a| programs.contains(&a.machine()));
        own.or_else(|| Arch::ALL.into_iter().find(|&a| programs.iter().any(|&m| a.compat(m).is_some())))
    };
    // Of several the one that the image is for.
    let host = image.filter(|&i| programs.iter().any(|&m| runs(i, m))).or_else(first)?;
    // Nobody has a 32-bit x86 kernel and systemd-sysext.
    Some(if host == Arch::X86 { Arch::X86_64 } else { host })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use clap::Parser;

    use super::*;
    use crate::args::ReleaseArgs;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        release: ReleaseArgs,
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<&'static str>>);

    impl Events for Heard {
        fn event(&self, event: Event<'_>) {
            let kind = match event {
                Event::Note(_) => "note",
                Event::Warning(_) => "warning",
                _ => return,
            };
            self.0.lock().unwrap().push(kind);
        }
    }

    fn decide(args: &[&str], programs: &[Machine], image: Option<Arch>) -> (String, String) {
        let command = Command::parse_from([&["x"], args].concat());
        let heard = Heard::default();
        let arch = command.release.architecture(&programs.iter().copied().collect(), image, &heard);
        let said = heard.0.into_inner().unwrap().join(" ");
        (arch.map_or("none".to_owned(), |a| a.to_string()), said)
    }

    #[test]
    fn hosts_of_programs() {
        use Arch::{Arm, Arm64, Riscv64, S390x, X86, X86_64};
        let x32 = Machine { wide: false, ..X86_64.machine() };
        let s390 = Machine { wide: false, ..S390x.machine() };
        let [x86_64, x86, arm64, arm] = [X86_64, X86, Arm64, Arm].map(Arch::machine);
        type Row<'a> = (&'a [&'a str], &'a [Machine], Option<Arch>, &'a str, &'a str);
        let rows: &[Row<'_>] = &[
            (&[], &[], Some(X86_64), "none", ""),
            (&[], &[x86_64], Some(X86_64), "x86-64", ""),
            (&[], &[x86_64], Some(Arm64), "x86-64", ""),
            // 32-bit programs of a 64-bit image; those of a 32-bit one; both kinds.
            (&[], &[x86], Some(X86_64), "x86-64", "note"),
            (&[], &[x86], Some(X86), "x86-64", "note"),
            (&[], &[x86], None, "x86-64", "note"),
            (&[], &[x86, x86_64], Some(X86), "x86-64", "note"),
            (&[], &[x86, x86_64], Some(X86_64), "x86-64", "note"),
            (&[], &[arm], Some(Arm64), "arm64", "warning"),
            // There are 32-bit hosts that run it for sure.
            (&[], &[arm], Some(Arm), "arm", "note"),
            (&[], &[arm], Some(X86_64), "arm", "note"),
            (&[], &[x32], Some(X86_64), "x86-64", "warning"),
            (&[], &[x32], None, "x86-64", "warning"),
            (&[], &[s390], Some(S390x), "s390x", "warning"),
            // Two machines in one image.
            (&[], &[x86_64, arm64], Some(Arm64), "arm64", ""),
            (&[], &[x86_64, arm64], Some(Riscv64), "x86-64", ""),
            (&["--host-arch", "any"], &[x86], Some(X86_64), "none", ""),
            (&["--host-arch", "i386"], &[x86], Some(X86_64), "x86", ""),
            (&["--host-arch", "amd64"], &[x86], Some(X86), "x86-64", ""),
            (&["--host-arch", "arm64"], &[arm], Some(Arm), "arm64", "warning"),
            // The lint has a word for this one.
            (&["--host-arch", "riscv64"], &[x86_64], Some(X86_64), "riscv64", ""),
        ];
        for (args, programs, image, arch, said) in rows {
            let got = decide(args, programs, *image);
            assert_eq!(got, ((*arch).to_owned(), (*said).to_owned()), "{args:?} {programs:?} {image:?}");
        }
        let error = Command::try_parse_from(["x", "--host-arch", "vax"]).unwrap_err().to_string();
        assert!(error.contains("\"vax\" is unknown"), "{error}");
    }
}
