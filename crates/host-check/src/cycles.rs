//! Circles in the order of units: systemd breaks one by leaving out a job, of its own choice. systemd.unit(5), "After=".

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tree::Tree;

use crate::layer::Layer;
use crate::overlay::{Merged, Owner};
use crate::rules::CYCLE;
use crate::units::{Units, names};
use crate::{Finding, Severity};

/// Orders that are followed for all units together. A host with all of its services has some thousands.
const STEPS: usize = 1 << 24;

/// Units that are ordered behind others, by their names.
type Order = BTreeMap<String, BTreeSet<String>>;

/// Circles that go through a unit of an extension.
pub(crate) fn findings(units: &Units, merged: &Merged, layers: &[Layer<'_>]) -> Vec<Finding> {
    let owner = |name: &str| match merged.owner(units.files.get(name)?) {
        Owner::Host => None,
        Owner::Extension(i) => Some(i),
    };
    let own: Vec<(&String, usize)> =
        units.files.keys().filter_map(|name| Some((name, owner(name)?))).collect();
    if own.is_empty() {
        return Vec::new();
    }
    let order = order(units, &merged.tree);
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    let mut left = STEPS;
    for (name, by) in own {
        if left == 0 {
            let message = "extensions order so many units that circles aren't looked for among all of them";
            out.push(CYCLE.finding(None, None, message).with(Severity::Warning));
            break;
        }
        let Some(circle) = circle(&order, name, &mut left) else { continue };
        let mut members: Vec<&String> = circle.iter().collect();
        members.sort();
        if !seen.insert(members.into_iter().cloned().collect::<Vec<_>>()) {
            continue;
        }
        let message = format!("{} comes before itself: after {}", name, circle.join(", after "));
        // Of other units, one may be there in the place of another.
        let sure = circle.iter().all(|unit| unit.ends_with(".target") || owner(unit).is_some());
        let severity = if sure { Severity::Error } else { Severity::Warning };
        let extension = layers.get(by).map(|e| e.name.as_str());
        out.push(CYCLE.finding(extension, units.files.get(name), message).with(severity));
    }
    out
}

/// The shortest way from a unit to itself, along what each is ordered behind; the unit comes last. Each order that is followed
/// takes one off `left`.
fn circle(order: &Order, start: &String, left: &mut usize) -> Option<Vec<String>> {
    let mut from: BTreeMap<&String, &String> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(unit) = queue.pop_front() {
        for next in order.get(unit).into_iter().flatten() {
            *left = left.checked_sub(1)?;
            if next == start {
                let mut way = vec![start.clone()];
                let mut at = unit;
                while at != start {
                    way.push(at.clone());
                    at = from.get(at)?;
                }
                way.reverse();
                return Some(way);
            }
            if !from.contains_key(next) {
                from.insert(next, unit);
                queue.push_back(next);
            }
        }
    }
    None
}

fn order(units: &Units, tree: &Tree) -> Order {
    let mut out = Order::new();
    let mut alone = BTreeSet::new();
    for name in units.files.keys() {
        let lines = units.directives(tree, name);
        let last = lines.iter().rev().find(|d| d.section == "Unit" && d.key == "DefaultDependencies");
        let is_alone =
            last.is_some_and(|d| [b"no".as_slice(), b"false", b"0", b"off"].contains(&d.value.as_slice()));
        if is_alone {
            alone.insert(name.clone());
        }
        for directive in lines.iter().filter(|d| d.section == "Unit") {
            for other in names(directive).filter(|other| units.files.contains_key(other)) {
                match directive.key.as_str() {
                    "After" => _ = out.entry(name.clone()).or_default().insert(other),
                    "Before" => _ = out.entry(other).or_default().insert(name.clone()),
                    _ => {}
                }
            }
        }
        if !is_alone {
            defaults(name, &mut out);
        }
    }
    // A target comes behind what it pulls in, unless that says otherwise: systemd.target(5).
    for pull in &units.pulls {
        let (by, unit) = (&pull.by, &pull.unit);
        let is_target = by.ends_with(".target") && units.files.contains_key(by);
        if is_target && units.files.contains_key(unit) && !alone.contains(by) && !alone.contains(unit) {
            let behind = out.get(unit).is_some_and(|before| before.contains(by));
            if !behind {
                out.entry(by.clone()).or_default().insert(unit.clone());
            }
        }
    }
    out
}

/// What units are ordered by without saying so. systemd.service(5) and its like, "Default Dependencies".
fn defaults(name: &str, out: &mut Order) {
    let behind: &[&str] = match name.rsplit('.').next() {
        Some("service") => &["sysinit.target", "basic.target"],
        Some("socket" | "timer" | "path") => &["sysinit.target"],
        _ => &[],
    };
    out.entry(name.to_owned()).or_default().extend(behind.iter().map(|b| (*b).to_owned()));
    let before = match name.rsplit('.').next() {
        Some("socket") => "sockets.target",
        Some("timer") => "timers.target",
        Some("path") => "paths.target",
        _ => return,
    };
    out.entry(before.to_owned()).or_default().insert(name.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_orders_too_much_is_not_followed() {
        let behind = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<String>>();
        let order: Order = [("a", &["b"][..]), ("b", &["c"]), ("c", &["a"])]
            .map(|(name, others)| (name.to_owned(), behind(others)))
            .into();
        let mut left = 3;
        assert_eq!(circle(&order, &"a".to_owned(), &mut left).unwrap(), ["b", "c", "a"]);
        assert_eq!(left, 0);
        left = 2;
        assert_eq!(circle(&order, &"a".to_owned(), &mut left), None);
        assert_eq!(left, 0);
    }
}
