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
