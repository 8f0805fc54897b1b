use super::*;

#[test]
fn the_programs_own_recipes_parse() {
    let catalogue = Catalogue::embedded();
    let recipes = catalogue.recipes().unwrap_or_else(|e| panic!("{e}"));
    assert!(recipes.iter().any(|r| r.name().as_str() == "containerd"));
}

#[test]
fn a_directory_reads_as_the_embedded_table_does() {
    let mut catalogue = Catalogue::default();
    catalogue.add_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("catalogue")).unwrap();
    let embedded = Catalogue::embedded();
    assert_eq!(catalogue.names().collect::<Vec<_>>(), embedded.names().collect::<Vec<_>>());
    for (name, folder) in &catalogue.folders {
        assert!(embedded.folders[name] == *folder, "{name}");
    }
}

#[test]
fn unknown_names_and_empty_directories() {
    let mut catalogue = Catalogue::embedded();
    let error = catalogue.recipe("contianerd").unwrap_err().to_string();
    assert_eq!(error, "recipe \"contianerd\" is unknown, did you mean \"containerd\"?");
    let dir = tempfile::tempdir().unwrap();
    let error = catalogue.add_directory(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("has no recipes, expected folders with recipe.toml"), "{error}");
}

#[test]
fn a_former_name_leads_to_the_recipe() {
    let catalogue = Catalogue::embedded();
    assert!(catalogue.has("docker_compose") && catalogue.has("docker-compose") && !catalogue.has("compose"));
    assert_eq!(catalogue.recipe("docker_compose").unwrap().name().as_str(), "docker-compose");
    assert!(!catalogue.names().any(|name| name == "docker_compose"));
}

#[test]
fn a_former_name_is_that_of_one_recipe_and_says_what_is_wrong_with_it() {
    let text = |more: &str| {
        format!(
            "summary = \"x\"\naliases = [\"old\"]\n{more}[versions]\nsource = {{ text = \"https://e.org/\" }}\n"
        )
    };
    let catalogue = |recipes: &[(&str, String)]| {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in recipes {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("recipe.toml"), text).unwrap();
        }
        let mut catalogue = Catalogue::default();
        catalogue.add_directory(dir.path()).unwrap();
        catalogue
    };
    let error = |result: Result<Recipe, CatalogueError>| result.unwrap_err().to_string();
    let broken = catalogue(&[("a", text("surplus = 1\n"))]);
    assert!(
        error(broken.recipe("old")).contains("unknown key \"surplus\""),
        "{}",
        error(broken.recipe("old"))
    );
    assert!(error(broken.recipe("other")).contains("is unknown"), "{}", error(broken.recipe("other")));
    let two = catalogue(&[("a", text("")), ("b", text(""))]);
    assert_eq!(error(two.recipe("old")), "recipes a and b both have the former name \"old\"");
    assert!(two.recipes().unwrap_err().to_string().contains("a and b both"));
    let taken = catalogue(&[("a", text("")), ("old", text("").replace("\"old\"", ""))]);
    let message = "recipe a has the former name \"old\", which another recipe has";
    assert_eq!(taken.recipes().unwrap_err().to_string(), message);
}

#[test]
fn a_version_is_taken_in_either_form_and_has_one() {
    let catalogue = Catalogue::embedded();
    for (name, typed, form) in [
        ("tailscale", "1.80.2", "v1.80.2"),
        ("tailscale", "v1.80.2", "v1.80.2"),
        ("docker-compose", "v2.33.1", "2.33.1"),
        ("containerd", "v2.1.4", "2.1.4"),
        ("k3s", "1.32.2+k3s1", "v1.32.2+k3s1"),
        ("docker", "27.5.1", "27.5.1"),
        ("tailscale", "weekly", "weekly"),
    ] {
        let got = catalogue.recipe(name).unwrap().in_form(&typed.parse().unwrap());
        assert_eq!(got.as_str(), form, "{name} {typed}");
    }
}
