//! Recipes by name: those in the program, and those of directories.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::recipe::{Entry, Files, Recipe, RecipeError, suggestion};

mod embedded {
    //! The project's own recipes, as `build.rs` found them.

    /// A file of `catalogue/`: path, kind (`f`, `x` executable, `l` link), content or target.
    pub(super) type Embedded = (&'static str, char, &'static [u8]);

    include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Folder {
    text: String,
    files: Files,
}

/// Recipes by name, not yet parsed.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    folders: BTreeMap<String, Folder>,
}

/// Why there is no recipe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum CatalogueError {
    /// A file or directory can't be read.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is no text where one is needed, or no file.
    #[error("{path:?}: {message}")]
    Odd { path: PathBuf, message: &'static str },
    /// Nobody has a recipe of that name.
    #[error("recipe {name:?} is unknown, {suggestion}")]
    Unknown {
        name: String,
        /// A name like it.
        suggestion: String,
    },
    /// A former name that would lead to two recipes.
    #[error("recipes {recipe} and {other} both have the former name {alias:?}")]
    SameAlias { alias: String, recipe: String, other: String },
    /// A former name that is the name of another recipe.
    #[error("recipe {recipe} has the former name {alias:?}, which another recipe has")]
    TakenAlias { alias: String, recipe: String },
    /// It makes no sense.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

/// Bytes; a recipe's file isn't longer.
const FILE_MAX: u64 = 16 << 20;

impl Catalogue {
    /// The recipes in the program.
    pub fn embedded() -> Catalogue {
        let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
        for (path, kind, content) in embedded::FILES {
            let Some((name, path)) = path.split_once('/') else { continue };
            let folder = folders
                .entry(name.to_owned())
                .or_insert_with(|| Folder { text: String::new(), files: Files::default() });
            match path {
                "recipe.toml" => folder.text = String::from_utf8_lossy(content).into_owned(),
                _ if *kind == 'l' => {
                    folder.files.insert(path, Entry::Symlink(String::from_utf8_lossy(content).into_owned()));
                }
                _ => {
                    folder
                        .files
                        .insert(path, Entry::File { executable: *kind == 'x', content: Arc::from(*content) });
                }
            }
        }
        Catalogue { folders }
    }

    /// Adds the recipes of a directory: each of its folders that has a `recipe.toml`. They take the places of those of the
    /// same names. A folder that is a recipe itself is added as such.
    ///
    /// # Errors
    /// What can't be read, and a directory without any recipe.
    pub fn add_directory(&mut self, dir: &Path) -> Result<(), CatalogueError> {
        let has = |dir: &Path| dir.join("recipe.toml").is_file();
        if has(dir) {
            let name = dir.canonicalize().map_err(at(dir))?;
            let name = name.file_name().and_then(|n| n.to_str());
            let name =
                name.ok_or(CatalogueError::Odd { path: dir.to_owned(), message: "has no name in UTF-8" })?;
            self.folders.insert(name.to_owned(), read(dir)?);
            return Ok(());
        }
        let mut found = false;
        for (name, path) in entries(dir)? {
            if path.is_dir() && has(&path) {
                self.folders.insert(name, read(&path)?);
                found = true;
            }
        }
        let message = "has no recipes, expected folders with recipe.toml";
        if found { Ok(()) } else { Err(CatalogueError::Odd { path: dir.to_owned(), message }) }
    }

    /// Names of the recipes, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.folders.keys().map(String::as_str)
    }

    /// Whether there is a recipe of this name, or one that had it before.
    pub fn has(&self, name: &str) -> bool {
        // A recipe that makes no sense is reported when it is read.
        self.folders.contains_key(name) || !matches!(self.renamed(name), Ok(None))
    }

    /// The recipe that had this name before.
    fn renamed(&self, name: &str) -> Result<Option<Recipe>, CatalogueError> {
        let quoted = [format!("\"{name}\""), format!("'{name}'")];
        let has = |text: &str| text.contains("aliases") && quoted.iter().any(|word| text.contains(word));
        let (mut found, mut broken): (Option<Recipe>, _) = (None, None);
        for (own, folder) in self.folders.iter().filter(|(_, folder)| has(&folder.text)) {
            match Recipe::parse(own, &folder.text, folder.files.clone()) {
                Ok(recipe) if !recipe.aliases().iter().any(|alias| alias == name) => {}
                Ok(recipe) => match &found {
                    Some(first) => {
                        return Err(CatalogueError::SameAlias {
                            alias: name.to_owned(),
                            recipe: first.name().to_string(),
                            other: own.clone(),
                        });
                    }
                    None => found = Some(recipe),
                },
                Err(error) => broken = broken.or(Some(error)),
            }
        }
        match (found, broken) {
            (None, Some(error)) => Err(error.into()),
            (found, _) => Ok(found),
        }
    }

    /// A recipe, by its name or one that it had before.
    ///
    /// # Errors
    /// It is unknown or makes no sense.
    pub fn recipe(&self, name: &str) -> Result<Recipe, CatalogueError> {
        let Some(folder) = self.folders.get(name) else {
            if let Some(recipe) = self.renamed(name)? {
                return Ok(recipe);
            }
            let known: Vec<&str> = self.names().collect();
            let suggestion = suggestion(name, &known);
            return Err(CatalogueError::Unknown { name: name.to_owned(), suggestion });
        };
        Ok(Recipe::parse(name, &folder.text, folder.files.clone())?)
    }

    /// All recipes, in order.
    ///
    /// # Errors
    /// The first that makes no sense, or a former name that isn't of one recipe alone.
    pub fn recipes(&self) -> Result<Vec<Recipe>, CatalogueError> {
        let recipes: Vec<Recipe> = self.names().map(|name| self.recipe(name)).collect::<Result<_, _>>()?;
        let mut former: BTreeMap<&str, &Recipe> = BTreeMap::new();
        for recipe in &recipes {
            for alias in recipe.aliases() {
                if self.folders.contains_key(alias) {
                    let (alias, recipe) = (alias.clone(), recipe.name().to_string());
                    return Err(CatalogueError::TakenAlias { alias, recipe });
                }
                if let Some(first) =
                    former.insert(alias, recipe).filter(|first| first.name() != recipe.name())
                {
                    let (recipe, other) = (first.name().to_string(), recipe.name().to_string());
                    return Err(CatalogueError::SameAlias { alias: alias.clone(), recipe, other });
                }
            }
        }
        Ok(recipes)
    }
}

/// For `map_err`: the path is in the message.
fn at(path: &Path) -> impl FnOnce(io::Error) -> CatalogueError {
    let path = path.to_owned();
    move |source| CatalogueError::Io { path, source }
}

/// A directory's entries in order; names have to be UTF-8.
fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>, CatalogueError> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        match path.file_name().and_then(|n| n.to_str()) {
            Some(name) => out.push((name.to_owned(), path)),
            None => return Err(CatalogueError::Odd { path, message: "has a name that is no UTF-8" }),
        }
    }
    out.sort();
    Ok(out)
}

fn read(dir: &Path) -> Result<Folder, CatalogueError> {
    let path = dir.join("recipe.toml");
    let text = String::from_utf8(bytes(&path)?)
        .map_err(|_| CatalogueError::Odd { path: path.clone(), message: "is no UTF-8" })?;
    let mut files = Files::default();
    for top in ["files", "parts", "keys"] {
        let path = dir.join(top);
        if path.is_dir() {
            walk(&path, top, 0, &mut files)?;
        }
    }
    Ok(Folder { text, files })
}

fn walk(dir: &Path, below: &str, depth: usize, files: &mut Files) -> Result<(), CatalogueError> {
    use std::os::unix::fs::PermissionsExt as _;
    if depth > 64 {
        return Err(CatalogueError::Odd { path: dir.to_owned(), message: "is too deep" });
    }
    for (name, path) in entries(dir)? {
        let inner = format!("{below}/{name}");
        let meta = path.symlink_metadata().map_err(at(&path))?;
        if meta.is_dir() {
            walk(&path, &inner, depth + 1, files)?;
        } else if meta.is_symlink() {
            let target = std::fs::read_link(&path).map_err(at(&path))?;
            let odd = CatalogueError::Odd { path, message: "has a target that is no UTF-8" };
            files.insert(inner, Entry::Symlink(target.to_str().ok_or(odd)?.to_owned()));
        } else if meta.is_file() {
            let executable = meta.permissions().mode() & 0o100 != 0;
            files.insert(inner, Entry::File { executable, content: bytes(&path)?.into() });
        } else {
            return Err(CatalogueError::Odd { path, message: "is no file, folder or link" });
        }
    }
    Ok(())
}

fn bytes(path: &Path) -> Result<Vec<u8>, CatalogueError> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(at(path))?;
    let mut out = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut out).map_err(at(path))?;
    if out.len() as u64 > FILE_MAX {
        return Err(CatalogueError::Odd { path: path.to_owned(), message: "is longer than 16 MiB" });
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
