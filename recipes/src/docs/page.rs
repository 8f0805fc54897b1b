//! The page of an extension.

use std::fmt::Write as _;

use super::{files, streams, units, verified};
use crate::format::{RequiresTable, Stream};
use crate::recipe::{ParameterValue, Recipe};

/// What a user wants to know, in Markdown. `place` is the URL below which images are published, with a slash at its end.
pub fn page(recipe: &Recipe, place: &str) -> String {
    let name = recipe.name();
    let mut out = format!(
        "# {name}\n\n<!-- Made by `bakery docs` from the recipe; changes belong there. -->\n\n{}",
        recipe.summary()
    );
    if let Some(homepage) = recipe.homepage() {
        let _ = write!(out, " ([{homepage}]({homepage}))");
    }
    out += ".\n\n";
    if let Some(licence) = recipe.licence() {
        let _ = writeln!(out, "- Licence: {licence}");
    }
    let archs: Vec<&str> = recipe.architectures().iter().map(|a| a.systemd()).collect();
    let _ = writeln!(out, "- Architectures: {}", archs.join(", "));
    let _ = writeln!(out, "- Verified by: {}", verified(recipe).join(", "));
    list(&mut out, "Files", files(recipe).iter().map(|f| format!("`{f}`")));
    list(&mut out, "Units (in bold: start by themselves)", units(recipe).iter().map(ToString::to_string));
    list(
        &mut out,
        "Can't be merged together with",
        recipe.conflicts().iter().map(|c| format!("[`{c}`]({c}.md)")),
    );
    list(&mut out, "Needs", recipe.as_typed().requires.iter().map(|r| needs(r.get_ref())));
    list(&mut out, "Libraries of the host", recipe.host_libraries().iter().map(|l| format!("`{l}`")));
    if !recipe.notes().trim().is_empty() {
        let _ = write!(out, "\n{}\n", recipe.notes().trim());
    }
    build(&mut out, recipe);
    install(&mut out, recipe, place);
    out
}

fn list(out: &mut String, what: &str, words: impl Iterator<Item = String>) {
    let words: Vec<String> = words.collect();
    if !words.is_empty() {
        let _ = writeln!(out, "- {what}: {}", words.join(", "));
    }
}

fn needs(table: &RequiresTable) -> String {
    let name = &table.extension;
    match &table.version {
        Some(version) => format!("[`{name}`]({name}.md), version `{version}`"),
        None => format!("[`{name}`]({name}.md)"),
    }
}

fn build(out: &mut String, recipe: &Recipe) {
    let name = recipe.name();
    let _ = write!(out, "\n## Build it\n\n```sh\nbakery build --update {name}");
    for (parameter, _) in
        recipe.parameters().iter().filter(|(_, p)| matches!(p.value, ParameterValue::Required))
    {
        let _ = write!(out, " --set {parameter}=…");
    }
    *out += "\n```\n";
    let options = recipe.parameters().iter().map(|(parameter, p)| (format!("--set {parameter}=…"), &p.about));
    let without =
        recipe.components().iter().map(|(component, about)| (format!("--without {component}"), about));
    let options: Vec<_> = options.chain(without).collect();
    if !options.is_empty() {
        *out += "\n| Option | About |\n| --- | --- |\n";
        for (option, about) in options {
            let _ = writeln!(out, "| `{option}` | {about} |");
        }
    }
}

fn install(out: &mut String, recipe: &Recipe, place: &str) {
    let name = recipe.name();
    let stream = recipe.streams().contains(&Stream::Minor);
    let (file, pattern) = if stream {
        (format!("{name}-vX.Y"), format!("{name}-vX.Y.@v-%a.raw"))
    } else {
        (name.to_string(), format!("{name}-@v-%a.raw"))
    };
    let _ = write!(
        out,
        "\n## Use it\n\nButane, with updates by systemd-sysupdate; `VERSION` and `x86-64` stand for yours:\n\n\
         ```yaml\n\
         variant: flatcar\n\
         version: 1.0.0\n\
         storage:\n\
         \x20 files:\n\
         \x20   - path: /opt/extensions/{name}/{name}-VERSION-x86-64.raw\n\
         \x20     mode: 0644\n\
         \x20     contents:\n\
         \x20       source: {place}{name}/{name}-VERSION-x86-64.raw\n\
         \x20   - path: /etc/sysupdate.{name}.d/{file}.conf\n\
         \x20     contents:\n\
         \x20       inline: |\n\
         \x20         [Transfer]\n\
         \x20         Verify=no\n\n\
         \x20         [Source]\n\
         \x20         Type=url-file\n\
         \x20         Path={place}{name}/\n\
         \x20         MatchPattern={pattern}\n\n\
         \x20         [Target]\n\
         \x20         InstancesMax=3\n\
         \x20         Type=regular-file\n\
         \x20         Path=/opt/extensions/{name}\n\
         \x20         MatchPattern={pattern}\n\
         \x20         CurrentSymlink=/etc/extensions/{name}.raw\n\
         \x20 links:\n\
         \x20   - path: /etc/extensions/{name}.raw\n\
         \x20     target: /opt/extensions/{name}/{name}-VERSION-x86-64.raw\n\
         \x20     hard: false\n\
         ```\n"
    );
    if stream {
        let _ = write!(
            out,
            "\nUpdates stay within one minor version (`vX.Y` stands for it). The streams are {}.\n",
            streams(recipe).iter().map(|s| format!("`{s}`")).collect::<Vec<_>>().join(" and ")
        );
    }
}
