//! The page of an extension.

use std::fmt::Write as _;

use super::{MARK, files, streams, units, verified};
use crate::{
    snippets::{Machine, Update},
    sysupdate::{self, Form, Transfer},
};
use recipes::format::{RequiresTable, Stream};
use recipes::recipe::{ParameterValue, Recipe};

/// What a user wants to know, in Markdown. `base_url` is the URL below which images are published.
pub(crate) fn page(recipe: &Recipe, base_url: &str) -> String {
    let name = recipe.name();
    let mut out = format!("# {name}\n\n{MARK}\n\n{}", recipe.summary());
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
    install(&mut out, recipe, base_url);
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
        let _ = write!(out, " --set {parameter}=VALUE");
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

fn install(out: &mut String, recipe: &Recipe, base_url: &str) {
    let name = recipe.name().as_str();
    let stream = recipe.streams().contains(&Stream::Minor).then(sysupdate::Stream::placeholder);
    let machine = Machine {
        name,
        file: &format!("{name}-VERSION-x86-64.raw"),
        sha256: None,
        base_url,
        verify: false,
        masked: recipe.masks(),
        update: Some((Update::Refresh, stream.clone())),
    };
    let stands = if stream.is_some() {
        "`VERSION`, `vX.Y` and `x86-64` stand"
    } else {
        "`VERSION` and `x86-64` stand"
    };
    let _ = write!(
        out,
        "\n## Use it\n\nBy hand, for a try:\n\n\
         ```sh\n\
         mkdir -p /etc/extensions\n\
         cp {name}-VERSION-x86-64.raw /etc/extensions/{name}.raw\n\
         systemd-sysext refresh\n\
         ```\n\n\
         On a machine that is set up by Ignition, with updates by systemd-sysupdate; {stands} for yours. `bakery butane {name} VERSION` \
         fills them in, with the image's checksum.\n\n\
         ```yaml\n{}```\n",
        machine.butane()
    );
    let base_url = sysupdate::directory(base_url, name);
    let transfer = Transfer { name: name.to_owned(), base_url, stream: None, verify: false };
    let narrow = stream.map(|stream| Transfer { stream: Some(stream), ..transfer.clone() });
    let _ = write!(
        out,
        "\nOn a machine that runs already, as `/etc/sysupdate.{name}.d/{}`; `systemd-sysupdate -C {name} update` then fetches \
         what is newest:\n\n```ini\n{}```\n",
        transfer.file_name(Form::Conf),
        transfer.text()
    );
    if let Some(narrow) = narrow {
        let _ = write!(
            out,
            "\nThat takes every version. To stay within one minor version it is `{}` instead, as above, with the \
             pattern `{}` in both places. The streams are {}.\n",
            narrow.file_name(Form::Conf),
            narrow.pattern(),
            streams(recipe).iter().map(|s| format!("`{s}`")).collect::<Vec<_>>().join(" and ")
        );
    }
}
