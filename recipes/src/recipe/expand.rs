//! From a recipe to what is built of it for one version and architecture. A pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tree::{Arch, TreePath};

use super::check::glob;
use super::error::suggestion;
use super::files::Entry;
use super::instance::{
    Archive, Build, Checksum, Download, Image, Install, Instance, Requirement, Settings, Signature,
    SignatureKind, Static, file_name,
};
use super::{ParameterValue, Recipe};
use crate::{
    format::{
        BRANCH, BranchesTable, ChecksumTable, ChecksumWord, DownloadTable, FileTable, InstallTable, Mode,
        Pattern, SignatureTable, SourceTable, When,
    },
    template::{Template, UnknownWord, Values},
    version::Version,
};
use sysext::merge_test::Test;

/// The target of a unit that starts by itself, if the recipe names none.
pub(crate) const UPHOLD_DEFAULT: &str = "multi-user.target";

/// Why a recipe can't be built for a version and architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum InstanceError {
    /// Upstream has nothing for it.
    #[error("recipe {recipe}: architecture is {arch}, expected {known}")]
    Arch {
        recipe: String,
        /// What was asked for.
        arch: Arch,
        known: String,
    },
    /// `--set` of something that isn't there.
    #[error("recipe {recipe}: unknown parameter {name:?}, {suggestion}")]
    Parameter {
        recipe: String,
        /// What was asked for.
        name: String,
        suggestion: String,
    },
    /// A parameter without value.
    #[error("recipe {recipe}: parameter {name} has no value: {about}")]
    NoValue { recipe: String, name: String, about: String },
    /// A value that would go wrong in a URL or a path.
    #[error(
        "recipe {recipe}: parameter {name} is {value:?}, expected letters, digits and any of \".,_+~^-\""
    )]
    Value { recipe: String, name: String, value: String },
    /// `--without` of something that isn't there.
    #[error("recipe {recipe}: unknown component {name:?}, {suggestion}")]
    Component {
        recipe: String,
        /// What was asked for.
        name: String,
        suggestion: String,
    },
    /// Nothing would be left.
    #[error("recipe {recipe}: all components are left out")]
    Nothing { recipe: String },
    /// A variable of which no rule holds.
    #[error("recipe {recipe} {version}: {source}")]
    Word { recipe: String, version: Version, source: UnknownWord },
    /// Rules that contradict each other for this version.
    #[error("recipe {recipe} {version}: {message}")]
    Rules { recipe: String, version: Version, message: String },
}

/// A parameter's value that has to be found out.
#[derive(Debug, Clone)]
pub struct Query {
    /// The parameter.
    pub name: String,
    /// Where; the text in it has no words left.
    pub source: SourceTable,
    /// What counts.
    pub pattern: Option<Pattern>,
}

impl Recipe {
    /// The parameters that are found out, less those that `settings` has already.
    ///
    /// # Errors
    /// Settings that the recipe doesn't know; see [`InstanceError`].
    pub(crate) fn queries(
        &self,
        version: &Version,
        arch: Arch,
        settings: &Settings,
    ) -> Result<Vec<Query>, InstanceError> {
        self.check_settings(arch, settings)?;
        let values = self.built_in(version, arch);
        let mut out = Vec::new();
        for (name, parameter) in &self.parameters {
            if settings.parameters.contains_key(name) {
                continue;
            }
            if let ParameterValue::Newest(source, pattern) = &parameter.value {
                let source = source.expand(&values).map_err(|source| self.word(version, source))?;
                out.push(Query { name: name.clone(), source, pattern: pattern.clone() });
            }
        }
        Ok(out)
    }

    /// What is built for a version and architecture. `settings` has to have the values of all `Recipe::queries`.
    ///
    /// # Errors
    /// All that [`InstanceError`] lists.
    pub fn at(&self, version: &Version, arch: Arch, settings: &Settings) -> Result<Instance, InstanceError> {
        self.check_settings(arch, settings)?;
        let mut values = self.built_in(version, arch);
        let mut settings = settings.clone();
        let mut parameters = BTreeMap::new();
        for (name, parameter) in &self.parameters {
            let given = settings.parameters.get(name).cloned();
            let value = match (given, &parameter.value) {
                (Some(value), _) => value,
                (None, ParameterValue::Default(template)) => {
                    template.expand(&values).map_err(|source| self.word(version, source))?
                }
                (None, _) => {
                    let (recipe, about) = (self.name.to_string(), parameter.about.clone());
                    return Err(InstanceError::NoValue { recipe, name: name.clone(), about });
                }
            };
            parameters.insert(name.clone(), value);
        }
        values.extend(parameters.clone());
        settings.parameters = parameters;
        let mut expander = Expander { recipe: self, version, arch, without: &settings.without, values };
        for variable in self.rules.variable.iter().map(|v| v.get_ref()) {
            if !expander.values.contains_key(&variable.name) && expander.holds(&variable.when) {
                let value = expander.text(&variable.value)?;
                expander.values.insert(variable.name.clone(), value);
            }
        }
        expander.instance(settings.clone())
    }

    fn built_in(&self, version: &Version, arch: Arch) -> Values {
        let pairs = [
            ("name", self.name.as_str()),
            ("version", version.as_str()),
            ("plain", version.plain()),
            ("major", version.major()),
            ("minor", version.minor()),
            ("arch", arch.systemd()),
            ("goarch", arch.oci()),
            ("uname", arch.uname()),
        ];
        pairs.map(|(word, value)| (word.to_owned(), value.to_owned())).into()
    }

    fn word(&self, version: &Version, source: UnknownWord) -> InstanceError {
        InstanceError::Word { recipe: self.name.to_string(), version: version.clone(), source }
    }

    fn check_settings(&self, arch: Arch, settings: &Settings) -> Result<(), InstanceError> {
        let recipe = || self.name.to_string();
        if !self.architectures.contains(&arch) {
            let known: Vec<&str> = self.architectures.iter().map(|a| a.systemd()).collect();
            return Err(InstanceError::Arch { recipe: recipe(), arch, known: known.join(" or ") });
        }
        for (name, value) in &settings.parameters {
            if !self.parameters.contains_key(name) {
                let known: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
                let suggestion = suggestion(name, &known);
                return Err(InstanceError::Parameter { recipe: recipe(), name: name.clone(), suggestion });
            }
            if value.parse::<Version>().is_err() {
                let (name, value) = (name.clone(), value.clone());
                return Err(InstanceError::Value { recipe: recipe(), name, value });
            }
        }
        let components = &self.rules.components;
        for name in &settings.without {
            if !components.contains_key(name) {
                let known: Vec<&str> = components.keys().map(String::as_str).collect();
                let suggestion = suggestion(name, &known);
                return Err(InstanceError::Component { recipe: recipe(), name: name.clone(), suggestion });
            }
        }
        if !components.is_empty() && settings.without.len() == components.len() {
            return Err(InstanceError::Nothing { recipe: recipe() });
        }
        Ok(())
    }
}

impl SourceTable {
    fn expand(&self, values: &Values) -> Result<SourceTable, UnknownWord> {
        if let SourceTable::JsonIndex { url, pointer, keys, branches: Some(branches) } = self {
            // Known when the list of branches is.
            let mut values = values.clone();
            values.insert(BRANCH.to_owned(), format!("{{{BRANCH}}}"));
            let source = branches.source.expand(&values)?;
            let branches = Box::new(BranchesTable { source, r#match: branches.r#match.clone() });
            let url = Template::from(url.expand(&values)?.as_str());
            let (pointer, keys) = (pointer.clone(), *keys);
            return Ok(SourceTable::JsonIndex { url, pointer, keys, branches: Some(branches) });
        }
        let text = Template::literal(self.template().expand(values)?);
        Ok(match self {
            SourceTable::GithubReleases(_) => SourceTable::GithubReleases(text),
            SourceTable::GithubTags(_) => SourceTable::GithubTags(text),
            SourceTable::GitlabTags(_) => SourceTable::GitlabTags(text),
            SourceTable::HtmlIndex(_) => SourceTable::HtmlIndex(text),
            SourceTable::JsonIndex { pointer, keys, .. } => {
                SourceTable::JsonIndex { url: text, pointer: pointer.clone(), keys: *keys, branches: None }
            }
            SourceTable::KubernetesSchedule(_) => SourceTable::KubernetesSchedule(text),
            SourceTable::Text(_) => SourceTable::Text(text),
        })
    }
}

/// One version and architecture.
struct Expander<'a> {
    recipe: &'a Recipe,
    version: &'a Version,
    arch: Arch,
    without: &'a BTreeSet<String>,
    values: Values,
}

impl Expander<'_> {
    fn holds(&self, when: &When) -> bool {
        when.version.as_ref().is_none_or(|range| range.contains(self.version))
            && when.arch.is_none_or(|arch| arch.0 == self.arch)
            && when.with.as_ref().is_none_or(|c| !self.without.contains(c))
            && when.without.as_ref().is_none_or(|c| self.without.contains(c))
    }

    fn text(&self, template: &Template) -> Result<String, InstanceError> {
        template.expand(&self.values).map_err(|source| self.recipe.word(self.version, source))
    }

    fn texts<'t>(
        &self,
        templates: impl IntoIterator<Item = &'t Template>,
    ) -> Result<Vec<String>, InstanceError> {
        templates.into_iter().map(|t| self.text(t)).collect()
    }

    fn optional(&self, template: &Option<Template>) -> Result<Option<String>, InstanceError> {
        template.as_ref().map(|t| self.text(t)).transpose()
    }

    fn wrong(&self, message: String) -> InstanceError {
        let recipe = self.recipe.name.to_string();
        InstanceError::Rules { recipe, version: self.version.clone(), message }
    }

    fn path(&self, template: &Template) -> Result<TreePath, InstanceError> {
        let text = self.text(template)?;
        TreePath::new(&text).map_err(|e| self.wrong(e.to_string()))
    }

    fn instance(&self, settings: Settings) -> Result<Instance, InstanceError> {
        let rules = &self.recipe.rules;
        let mut downloads: Vec<Download> = Vec::new();
        for table in rules.download.iter().map(|d| d.get_ref()).filter(|d| self.holds(&d.when)) {
            if downloads.iter().any(|d| d.id == table.id) {
                return Err(self.wrong(format!("two downloads are called {:?}", table.id)));
            }
            downloads.push(self.download(table)?);
        }
        let here = |id: &str| downloads.iter().any(|d| d.id == id);
        let missing = |id: &str| {
            self.wrong(format!("download {id:?} isn't made for this version, architecture or setting"))
        };
        let mut installs = Vec::new();
        for table in rules.install.iter().map(|i| i.get_ref()).filter(|i| self.holds(&i.when)) {
            let install = self.install(table)?;
            if install.from != "build" && !here(&install.from) {
                return Err(missing(&install.from));
            }
            installs.push(install);
        }
        let mut build = None;
        if let Some(table) = rules.build.as_ref().map(|b| b.get_ref()) {
            if let Some(id) = table.sources.iter().find(|id| !here(id)) {
                return Err(missing(id));
            }
            let environment = table.environment.iter().map(|(k, v)| Ok((k.clone(), self.text(v)?)));
            build = Some(Build {
                image: self.text(&table.image)?,
                packages: self.texts(&table.packages)?,
                sources: table.sources.clone(),
                crates_of: table.crates_of.clone(),
                environment: environment.collect::<Result<_, InstanceError>>()?,
                script: self.text(&table.script)?,
            });
        }
        let mut image = None;
        if let Some(table) = rules.image.as_ref().map(|i| i.get_ref()) {
            let (packages, paths) = (self.texts(&table.packages)?, self.texts(&table.paths)?);
            let service_files = table.service_files.unwrap_or(true);
            let reference = self.text(&table.reference)?;
            image = Some(Image { reference, tool: table.tool, packages, paths, service_files });
        }
        let requires =
            rules.requires.iter().map(|r| r.get_ref()).map(|r| {
                Ok(Requirement { extension: r.extension.clone(), version: self.optional(&r.version)? })
            });
        let tests = rules.test.iter().map(|t| t.get_ref()).filter(|t| self.holds(&t.when));
        let tests = tests.map(|t| Ok(Test { run: self.text(&t.run)?, expect: self.optional(&t.expect)? }));
        Ok(Instance {
            name: self.recipe.name.to_string(),
            version: self.version.clone(),
            arch: self.arch,
            settings,
            reload: rules.reload,
            restart: self.restarted(false),
            reload_or_restart: self.restarted(true),
            requires: requires.collect::<Result<_, InstanceError>>()?,
            host_libraries: rules.host_libraries.clone(),
            allow: rules.allow.clone(),
            downloads,
            installs,
            files: self.files()?,
            build,
            image,
            tests: tests.collect::<Result<_, InstanceError>>()?,
        })
    }

    fn restarted(&self, reload: bool) -> Vec<String> {
        let tables = self.recipe.rules.restart.iter().map(|t| t.get_ref());
        tables.filter(|t| t.reload == reload && self.holds(&t.when)).map(|t| t.unit.clone()).collect()
    }

    fn download(&self, table: &DownloadTable) -> Result<Download, InstanceError> {
        let url = self.text(&table.url)?;
        let file = file_name(&url).to_owned();
        if !(url.starts_with("https://") || url.starts_with("http://")) || file.is_empty() {
            return Err(
                self.wrong(format!("url is {url:?}, expected https://… with a file's name at its end"))
            );
        }
        let mut values = self.values.clone();
        values.insert("url".to_owned(), url.clone());
        values.insert("file".to_owned(), file.clone());
        let within = Expander {
            values,
            recipe: self.recipe,
            version: self.version,
            arch: self.arch,
            without: self.without,
        };
        let mut checksums = Vec::new();
        for way in table.checksum.ways() {
            checksums.push(match way {
                ChecksumTable::Word(ChecksumWord::GithubDigest) => Checksum::GithubDigest,
                ChecksumTable::Word(ChecksumWord::LockOnly) => Checksum::LockOnly,
                ChecksumTable::List(list) => Checksum::List {
                    url: within.text(&list.list)?,
                    name: within.optional(&list.name)?.unwrap_or_else(|| file.clone()),
                    signature: list.signature.as_ref().map(|s| within.signature(s)).transpose()?,
                },
                ChecksumTable::FirstOf(_) => return Err(self.wrong("checksum has lists of lists".to_owned())),
            });
        }
        let signature = table.signature.as_ref().map(|s| within.signature(s)).transpose()?;
        let archive = table.archive.unwrap_or_else(|| Archive::of(&file));
        let inside = self.optional(&table.inside)?;
        Ok(Download { id: table.id.clone(), url, checksums, signature, archive, strip: table.strip, inside })
    }

    fn signature(&self, table: &SignatureTable) -> Result<Signature, InstanceError> {
        let kinds = [
            (SignatureKind::Openpgp, &table.openpgp),
            (SignatureKind::Ed25519, &table.ed25519),
            (SignatureKind::Minisign, &table.minisign),
            (SignatureKind::Cosign, &table.cosign),
        ];
        let found = kinds.into_iter().find_map(|(kind, url)| Some((kind, url.as_ref()?)));
        let (kind, url) = found.ok_or_else(|| self.wrong("signature is of no kind".to_owned()))?;
        let path = table.key.as_deref().ok_or_else(|| self.wrong("signature has no key".to_owned()))?;
        let key = self.recipe.files.content(path).cloned();
        let key = key.ok_or_else(|| self.wrong(format!("{path:?} is missing")))?;
        Ok(Signature { kind, url: self.text(url)?, key })
    }

    fn install(&self, table: &InstallTable) -> Result<Install, InstanceError> {
        let from = self.text(&table.from)?;
        let (id, pattern) = match from.split_once(':') {
            Some((id, pattern)) => (id, Some(pattern.trim_start_matches('/').to_owned())),
            None => (from.as_str(), None),
        };
        let replace = table.replace.iter().map(|r| Ok((self.text(&r.from)?, self.text(&r.to)?)));
        Ok(Install {
            from: id.to_owned(),
            pattern,
            to: self.path(&table.to)?,
            into: table.to.as_str().ends_with('/'),
            mode: table.mode.map(|m| m.0),
            except: self.texts(&table.except)?,
            replace: replace.collect::<Result<_, InstanceError>>()?,
            optional: table.optional,
        })
    }

    fn files(&self) -> Result<BTreeMap<TreePath, Static>, InstanceError> {
        let rules = &self.recipe.rules;
        let mut out = BTreeMap::new();
        for (path, entry) in self.recipe.files.iter() {
            let Some(path) = path.strip_prefix("files/") else { continue };
            if !self.is_in(&format!("/{path}"))? {
                continue;
            }
            let node = match entry {
                Entry::File { executable, content } => {
                    Static::File { mode: if *executable { 0o755 } else { 0o644 }, content: content.clone() }
                }
                Entry::Symlink(target) => Static::Symlink(target.clone()),
            };
            self.put(&mut out, TreePath::new(path).map_err(|e| self.wrong(e.to_string()))?, node)?;
        }
        for table in rules.file.iter().map(|f| f.get_ref()).filter(|f| self.holds(&f.when)) {
            let content = self.content(table)?;
            let mode = table.mode.map_or(0o644, |Mode(mode)| mode);
            self.put(&mut out, self.path(&table.path)?, Static::File { mode, content })?;
        }
        for table in rules.symlink.iter().map(|s| s.get_ref()).filter(|s| self.holds(&s.when)) {
            self.put(&mut out, self.path(&table.path)?, Static::Symlink(self.text(&table.target)?))?;
        }
        for table in rules.uphold.iter().map(|u| u.get_ref()).filter(|u| self.holds(&u.when)) {
            let target = table.target.as_deref().unwrap_or(UPHOLD_DEFAULT);
            let file = table.unit.replace(['.', '@'], "-");
            let path = format!("usr/lib/systemd/system/{target}.d/10-{file}.conf");
            let path = TreePath::new(path).map_err(|e| self.wrong(e.to_string()))?;
            let content = format!("[Unit]\nUpholds={}\n", table.unit).into_bytes().into();
            self.put(&mut out, path, Static::File { mode: 0o644, content })?;
        }
        Ok(out)
    }

    fn put(
        &self,
        files: &mut BTreeMap<TreePath, Static>,
        path: TreePath,
        node: Static,
    ) -> Result<(), InstanceError> {
        match files.insert(path.clone(), node) {
            Some(_) => Err(self.wrong(format!("{path} is made twice"))),
            None => Ok(()),
        }
    }

    fn is_in(&self, path: &str) -> Result<bool, InstanceError> {
        for table in self.recipe.rules.only.iter().map(|o| o.get_ref()) {
            for pattern in &table.paths {
                let glob = glob(pattern).map_err(|e| self.wrong(e.to_string()))?.compile_matcher();
                if glob.is_match(path) && !self.holds(&table.when) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn content(&self, table: &FileTable) -> Result<Arc<[u8]>, InstanceError> {
        if let Some(template) = &table.content {
            return Ok(self.text(template)?.into_bytes().into());
        }
        let source = table.source.as_deref();
        let source = source
            .ok_or_else(|| self.wrong("internal error: a file has neither content nor source".to_owned()))?;
        let path = format!("parts/{source}");
        let content = self.recipe.files.content(&path);
        let content = content.ok_or_else(|| self.wrong(format!("{path:?} is missing")))?;
        if !table.template {
            return Ok(content.clone());
        }
        let text = std::str::from_utf8(content).map_err(|_| self.wrong(format!("{path:?} is no UTF-8")))?;
        Ok(self.text(&Template::from(text))?.into_bytes().into())
    }
}

impl Archive {
    /// What a file is by its name.
    fn of(name: &str) -> Archive {
        let name = name.to_ascii_lowercase();
        let ends = |list: &[&str]| list.iter().any(|end| name.ends_with(end));
        if ends(&[".tar", ".tgz", ".txz", ".tzst", ".tbz2", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"]) {
            Archive::Tar
        } else if ends(&[".zip"]) {
            Archive::Zip
        } else if ends(&[".deb"]) {
            Archive::Deb
        } else {
            Archive::File
        }
    }
}
