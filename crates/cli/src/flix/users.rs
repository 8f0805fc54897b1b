//! Users as whom programs run whose packages weren't asked for.

use std::collections::BTreeSet;

use flix::plan::{Action, Plan, Why};
use services::{Inventory, ServicesError};
use tree::{Content, Event, Events, Tree};

use crate::args::PACKAGE;
use crate::lazy_database::LazyDatabase;

/// What looks a user up by name.
const LOOKS_UP: [&str; 2] = ["getpwnam", "getpwnam_r"];
/// What changes to a user.
const CHANGES: [&str; 6] = ["capng_change_id", "initgroups", "setgroups", "setresuid", "setreuid", "setuid"];

/// Warns of programs that change to a user whom the installation of their package makes: tcpdump does so, if root starts it.
/// Nobody asked for packages, so that a database which can't be read fails nothing.
pub(super) fn warn(plan: &Plan, image: &Tree, database: &LazyDatabase, events: &dyn Events) {
    let asked = plan.entries.iter().filter(|(_, entry)| {
        matches!(entry.action, Action::Relocate(_)) && entry.why.iter().any(|w| matches!(w, Why::Asked(_)))
    });
    for (place, entry) in asked {
        let Some(source) = &entry.source else { continue };
        let Some(content) = image.get(source).and_then(|node| node.content()).filter(|c| changes(c)) else {
            continue;
        };
        let known = database.get(image).map_err(ServicesError::from);
        let inventory = match known
            .and_then(|known| Inventory::with_database(image, known.as_deref(), [source]))
        {
            Ok(inventory) => inventory,
            Err(e) => {
                let text = format!("{place}: can't determine whether it runs as a user of its package: {e}");
                events.event(Event::Warning(text.into()));
                continue;
            }
        };
        let users: BTreeSet<&str> = inventory.users().collect();
        let mut named: BTreeSet<&str> = BTreeSet::new();
        // The plan has been through the file, and an error would have been its.
        let _ = elf::read_only_strings(content, &mut |string| {
            named.extend(users.iter().filter(|user| user.as_bytes() == string));
        });
        for user in named {
            events.event(Event::Warning(
                format!("{place}: runs as the user {user} if root starts it, and hosts may lack this user")
                    .into(),
            ));
            for package in inventory.packages() {
                events.event(Event::Hint(
                    format!("{PACKAGE}{package} has the host make the user {user}").into(),
                ));
            }
        }
    }
}

/// Whether a program may change to a user that it knows by name.
fn changes(program: &Content) -> bool {
    // A file that can't be read is an error of the plan's.
    [&LOOKS_UP[..], &CHANGES].iter().all(|names| elf::mentions(program, names).unwrap_or(false))
}
