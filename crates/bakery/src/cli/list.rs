//! `bakery list`

use std::fmt::Write as _;

use anyhow::Context as _;
use cli::print;
use serde_json::json;

use super::CatalogueArgs;
use recipes::recipe::{ParameterValue, Recipe};

/// List the recipes: names, descriptions, parameters, and components.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    catalogue: CatalogueArgs,

    /// Print the list as JSON
    #[arg(long)]
    json: bool,

    /// Also print parameters, components, and architectures
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let recipes = args.catalogue.catalogue()?.recipes()?;
    let text = match args.json {
        true => format!("{:#}\n", recipes.iter().map(value).collect::<serde_json::Value>()),
        false => text(&recipes, args.verbose),
    };
    print(text.as_bytes()).context("stdout")
}

fn text(recipes: &[Recipe], verbose: bool) -> String {
    let width = recipes.iter().map(|r| r.name().as_str().len()).max().unwrap_or(0);
    let mut out = String::new();
    for recipe in recipes {
        let _ = writeln!(out, "{:width$}  {}", recipe.name(), recipe.summary());
        if !verbose {
            continue;
        }
        let arches: Vec<&str> = recipe.architectures().iter().map(|a| a.systemd()).collect();
        let _ = writeln!(out, "{:width$}    for {}", "", arches.join(", "));
        for (name, parameter) in recipe.parameters() {
            let value = match &parameter.value {
                ParameterValue::Required => "has to be set",
                ParameterValue::Default(template) => template.as_str(),
                ParameterValue::Newest(..) => "the newest",
            };
            let _ = writeln!(out, "{:width$}    --set {name}=…: {} ({value})", "", parameter.about);
        }
        for (name, about) in recipe.components() {
            let _ = writeln!(out, "{:width$}    --without {name}: {about}", "");
        }
    }
    out
}

fn value(recipe: &Recipe) -> serde_json::Value {
    let parameters = recipe.parameters().iter().map(|(name, p)| (name.clone(), json!(p.about)));
    json!({
        "name": recipe.name().as_str(),
        "summary": recipe.summary(),
        "homepage": recipe.homepage(),
        "licence": recipe.licence(),
        "architectures": recipe.architectures().iter().map(|a| a.systemd()).collect::<Vec<_>>(),
        "conflicts": recipe.conflicts(),
        "parameters": parameters.collect::<serde_json::Map<_, _>>(),
        "components": recipe.components(),
    })
}
