//! What can be wrong with a recipe whatever the version.

use std::collections::BTreeSet;
use std::ops::Range;

use globset::Glob;
use tree::TreePath;

use super::error::suggestion;
use super::files::Files;
use crate::{
    format::{
        BRANCH, ChecksumTable, ChecksumWord, DownloadTable, FileTable, InstallTable, ParameterTable,
        RecipeFile, SignatureTable, SourceTable, When,
    },
    template::{self, Template},
};

/// A problem, and the byte of the file where its table starts.
pub(super) struct Problem {
    pub at: Option<usize>,
    pub message: String,
}

/// Words that every recipe has.
pub(super) const BUILT_IN: [&str; 8] =
    ["name", "version", "plain", "major", "minor", "arch", "goarch", "uname"];

/// Words of a download's checksum and signature.
const OF_DOWNLOADS: [&str; 2] = ["file", "url"];

type Checked = Result<(), String>;

pub(super) fn check(name: &str, recipe: &RecipeFile, files: &Files) -> Result<(), Problem> {
    let checker = Checker::new(recipe, files);
    let whole = |message| Problem { at: None, message };
    checker.header(name).map_err(whole)?;
    let at = |span: Range<usize>, checked: Checked| {
        checked.map_err(|m| Problem { at: Some(span.start), message: m })
    };
    macro_rules! each {
        ($list:expr, $check:expr) => {
            for table in $list {
                at(table.span(), $check(table.get_ref()))?;
            }
        };
    }
    each!([&recipe.versions], |t: &crate::format::VersionsTable| checker.source(&t.source, &["name"]));
    for (name, table) in &recipe.parameters {
        at(table.span(), checker.parameter(name, table.get_ref()))?;
    }
    each!(&recipe.requires, |t: &crate::format::RequiresTable| checker.templates(&t.version));
    let mut before = checker.without_variables();
    for table in &recipe.variable {
        let variable = table.get_ref();
        let checked = checker.variable(variable, &before);
        at(table.span(), checked)?;
        before.insert(&variable.name);
    }
    each!(&recipe.download, |t| checker.download(t));
    each!(&recipe.install, |t| checker.install(t));
    each!(&recipe.file, |t| checker.file(t));
    each!(&recipe.only, |t: &crate::format::OnlyTable| checker.only(&t.paths, &t.when));
    each!(&recipe.symlink, |t: &crate::format::SymlinkTable| {
        checker.when(&t.when)?;
        checker.templates([&t.path, &t.target])?;
        path(&t.path)
    });
    each!(&recipe.uphold, |t: &crate::format::UpholdTable| {
        unit(&t.unit)?;
        t.target.as_deref().map_or(Ok(()), unit)?;
        checker.when(&t.when)
    });
    each!(&recipe.restart, |t: &crate::format::RestartTable| {
        unit(&t.unit)?;
        checker.when(&t.when)
    });
    each!(recipe.build.iter(), |t: &crate::format::BuildTable| {
        checker
            .templates([&t.image, &t.script].into_iter().chain(t.environment.values()).chain(&t.packages))?;
        t.sources.iter().try_for_each(|id| checker.known("download", id, &checker.downloads))?;
        let sources = t.sources.iter().map(String::as_str).collect();
        t.crates_of.iter().try_for_each(|id| checker.known("source", id, &sources))
    });
    each!(recipe.image.iter(), |t: &crate::format::ImageTable| checker
        .templates(std::iter::once(&t.reference).chain(&t.packages).chain(&t.paths)));
    each!(&recipe.test, |t: &crate::format::TestTable| {
        checker.when(&t.when)?;
        checker.templates(std::iter::once(&t.run).chain(&t.expect))
    });
    Ok(())
}

struct Checker<'a> {
    recipe: &'a RecipeFile,
    files: &'a Files,
    /// Words of all templates but those of downloads' checksums.
    words: BTreeSet<&'a str>,
    downloads: BTreeSet<&'a str>,
}

impl<'a> Checker<'a> {
    fn new(recipe: &'a RecipeFile, files: &'a Files) -> Self {
        let variables = recipe.variable.iter().map(|v| v.get_ref().name.as_str());
        let parameters = recipe.parameters.keys().map(String::as_str);
        let words = BUILT_IN.into_iter().chain(parameters).chain(variables).collect();
        let downloads = recipe.download.iter().map(|d| d.get_ref().id.as_str()).collect();
        Checker { recipe, files, words, downloads }
    }

    fn without_variables(&self) -> BTreeSet<&'a str> {
        BUILT_IN.into_iter().chain(self.recipe.parameters.keys().map(String::as_str)).collect()
    }

    fn header(&self, name: &str) -> Checked {
        let summary = &self.recipe.summary;
        if summary.trim().is_empty() || summary.contains('\n') {
            return Err("summary has to be one line".to_owned());
        }
        if self.recipe.architectures.as_ref().is_some_and(Vec::is_empty) {
            return Err("architectures is empty".to_owned());
        }
        let rules: Vec<&str> =
            sysext::extension::RULES.iter().filter(|r| r.allowable).map(|r| r.name).collect();
        if let Some(rule) = self.recipe.allow.iter().find(|r| !rules.contains(&r.as_str())) {
            return Err(format!("allow: unknown rule {rule:?}, {}", suggestion(rule, &rules)));
        }
        if let Some(bad) = self.recipe.masks.iter().find(|m| m.parse::<sysext::ExtensionName>().is_err()) {
            return Err(format!("masks: {bad:?} is no extension's name"));
        }
        let former =
            |alias: &&String| alias.as_str() == name || alias.parse::<sysext::ExtensionName>().is_err();
        if let Some(bad) = self.recipe.aliases.iter().find(former) {
            return Err(format!("aliases: {bad:?} isn't a valid former name"));
        }
        let is_keyword =
            |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_control() || c.is_whitespace());
        if let Some(bad) = self.recipe.keywords.iter().find(|word| !is_keyword(word)) {
            return Err(format!("keywords: {bad:?} isn't a word"));
        }
        if self.recipe.conflicts.iter().any(|c| c == name) {
            return Err(format!("conflicts: {name} can't conflict with itself"));
        }
        if let Some(word) = self.recipe.components.keys().find(|w| !template::is_word(w)) {
            return Err(format!("components: {word:?} is no word of small letters, digits and hyphens"));
        }
        let known = |path: &str| ["files/", "parts/", "keys/"].iter().any(|dir| path.starts_with(dir));
        match self.files.iter().find(|(path, _)| !known(path)) {
            Some((path, _)) => {
                Err(format!("{path:?} is in no folder of a recipe, expected files/, parts/ or keys/"))
            }
            None => Ok(()),
        }
    }

    fn words<'t>(
        &self,
        templates: impl IntoIterator<Item = &'t Template>,
        known: &BTreeSet<&str>,
    ) -> Checked {
        for template in templates {
            if let Some(word) = template.words().find(|w| !known.contains(w)) {
                let list: Vec<&str> = known.iter().copied().collect();
                return Err(format!(
                    "unknown {{{word}}} in {:?}, {}",
                    template.as_str(),
                    suggestion(word, &list)
                ));
            }
        }
        Ok(())
    }

    fn templates<'t>(&self, templates: impl IntoIterator<Item = &'t Template>) -> Checked {
        self.words(templates, &self.words)
    }

    fn known(&self, what: &str, word: &str, known: &BTreeSet<&str>) -> Checked {
        if known.contains(word) {
            return Ok(());
        }
        let list: Vec<&str> = known.iter().copied().collect();
        Err(format!("unknown {what} {word:?}, {}", suggestion(word, &list)))
    }

    fn when(&self, when: &When) -> Checked {
        let components: BTreeSet<&str> = self.recipe.components.keys().map(String::as_str).collect();
        [&when.with, &when.without]
            .into_iter()
            .flatten()
            .try_for_each(|c| self.known("component", c, &components))
    }

    fn source(&self, source: &SourceTable, words: &[&str]) -> Checked {
        let mut known: BTreeSet<&str> = words.iter().copied().collect();
        if let SourceTable::JsonIndex { branches: Some(branches), url, .. } = source {
            if !url.words().any(|word| word == BRANCH) {
                return Err(format!("{:?} has no {{{BRANCH}}}, but branches are listed", url.as_str()));
            }
            if matches!(branches.source, SourceTable::JsonIndex { branches: Some(_), .. }) {
                return Err("branches of branches aren't followed".to_owned());
            }
            self.source(&branches.source, words)?;
            known.insert(BRANCH);
        }
        self.words([source.template()], &known)?;
        match source {
            SourceTable::JsonIndex { pointer, .. } if !pointer.is_empty() && !pointer.starts_with('/') => {
                Err(format!("pointer {pointer:?} doesn't start with a slash"))
            }
            SourceTable::GithubReleases(t) | SourceTable::GithubTags(t)
                if t.as_str().split('/').count() != 2 =>
            {
                Err(format!("repository is {:?}, expected OWNER/REPOSITORY", t.as_str()))
            }
            _ => Ok(()),
        }
    }

    fn parameter(&self, name: &str, table: &ParameterTable) -> Checked {
        if !template::is_word(name) || BUILT_IN.contains(&name) || OF_DOWNLOADS.contains(&name) {
            return Err(format!("parameter {name:?} is no free word of small letters, digits and hyphens"));
        }
        let ways = [table.source.is_some(), table.default.is_some(), table.required];
        if ways.iter().filter(|w| **w).count() != 1 {
            return Err(format!("parameter {name:?} needs one of source, default and required = true"));
        }
        if table.r#match.is_some() && table.source.is_none() {
            return Err(format!("parameter {name:?} has match without source"));
        }
        if let Some(source) = &table.source {
            self.source(source, &BUILT_IN)?;
        }
        self.words(&table.default, &BUILT_IN.into_iter().collect())
    }

    fn variable(&self, table: &crate::format::VariableTable, before: &BTreeSet<&str>) -> Checked {
        let name = table.name.as_str();
        let taken = BUILT_IN.contains(&name)
            || OF_DOWNLOADS.contains(&name)
            || self.recipe.parameters.contains_key(name);
        if !template::is_word(name) || taken {
            return Err(format!("variable {name:?} is no free word of small letters, digits and hyphens"));
        }
        self.words([&table.value], before)?;
        self.when(&table.when)
    }

    fn download(&self, table: &DownloadTable) -> Checked {
        if !template::is_word(&table.id) || table.id == "build" {
            return Err(format!("id {:?} is no free word of small letters, digits and hyphens", table.id));
        }
        self.when(&table.when)?;
        self.templates(std::iter::once(&table.url).chain(&table.inside))?;
        table.inside.as_ref().map_or(Ok(()), |p| pattern(p.as_str()))?;
        let words: BTreeSet<&str> = self.words.iter().copied().chain(OF_DOWNLOADS).collect();
        for way in table.checksum.ways() {
            if let ChecksumTable::List(list) = way {
                self.words(std::iter::once(&list.list).chain(&list.name), &words)?;
                list.signature.as_ref().map_or(Ok(()), |s| self.signature(s, &words))?;
            }
        }
        let ways = table.checksum.ways();
        let unchecked = ways.iter().position(|w| *w == ChecksumTable::Word(ChecksumWord::LockOnly));
        if unchecked.is_some_and(|at| at + 1 < ways.len()) {
            return Err("checksum: \"lock-only\" must come last".to_owned());
        }
        table.signature.as_ref().map_or(Ok(()), |s| self.signature(s, &words))
    }

    fn signature(&self, signature: &SignatureTable, words: &BTreeSet<&str>) -> Checked {
        let SignatureTable { openpgp, ed25519, minisign, cosign, .. } = signature;
        let kinds = [openpgp, ed25519, minisign, cosign];
        self.words(kinds.into_iter().flatten(), words)?;
        if kinds.into_iter().flatten().count() != 1 {
            return Err("signature needs one of openpgp, ed25519, minisign and cosign".to_owned());
        }
        match &signature.key {
            Some(key) => self.part(Some(key), "", "keys/"),
            None => Err("signature needs key, a file below keys/".to_owned()),
        }
    }

    /// A file of the recipe's folder that has to be there.
    fn part(&self, path: Option<&str>, prefix: &str, folder: &str) -> Checked {
        let Some(path) = path else { return Ok(()) };
        let path = format!("{prefix}{path}");
        if path.starts_with(folder) && self.files.content(&path).is_some() {
            return Ok(());
        }
        let list: Vec<&str> = self.files.iter().map(|(p, _)| p).filter(|p| p.starts_with(folder)).collect();
        Err(format!("{path:?} is no file in the recipe's folder, {}", suggestion(&path, &list)))
    }

    fn install(&self, table: &InstallTable) -> Checked {
        self.when(&table.when)?;
        let replace = table.replace.iter().flat_map(|r| [&r.from, &r.to]);
        self.templates([&table.from, &table.to].into_iter().chain(&table.except).chain(replace))?;
        if table.replace.iter().any(|r| r.from.as_str().is_empty()) {
            return Err("replace: from is empty".to_owned());
        }
        path(&table.to)?;
        table.except.iter().try_for_each(|p| pattern(p.as_str()))?;
        let (id, of) = match table.from.as_str().split_once(':') {
            Some((id, of)) => (id, Some(of)),
            None => (table.from.as_str(), None),
        };
        of.map_or(Ok(()), pattern)?;
        match id {
            "build" if self.recipe.build.is_none() => Err("there is no [build]".to_owned()),
            "image" if self.recipe.image.is_none() => Err("there is no [image]".to_owned()),
            "build" | "image" if of.is_none() => {
                Err(format!("from is {id:?}, expected {id:?} and a pattern"))
            }
            "build" | "image" => Ok(()),
            _ => self.known("download", id, &self.downloads),
        }
    }

    fn file(&self, table: &FileTable) -> Checked {
        self.when(&table.when)?;
        self.templates(std::iter::once(&table.path).chain(&table.content))?;
        path(&table.path)?;
        match (&table.content, &table.source) {
            (Some(_), None) if table.template => Err("content is a template in any case".to_owned()),
            (Some(_), None) => Ok(()),
            (None, Some(source)) => {
                self.part(Some(source), "parts/", "parts/")?;
                let content = self.files.content(&format!("parts/{source}")).filter(|_| table.template);
                let Some(content) = content else { return Ok(()) };
                let text = std::str::from_utf8(content).map_err(|_| format!("parts/{source} is no UTF-8"))?;
                self.templates([&Template::from(text)])
            }
            _ => Err("file needs one of content and source".to_owned()),
        }
    }

    fn only(&self, paths: &[String], when: &When) -> Checked {
        self.when(when)?;
        for text in paths {
            pattern(text)?;
            let glob = glob(text).map_err(|e| e.to_string())?.compile_matcher();
            let hit = |path: &str| path.strip_prefix("files").is_some_and(|p| glob.is_match(p));
            if !self.files.iter().any(|(path, _)| hit(path)) {
                return Err(format!("{text:?} matches nothing in files/"));
            }
        }
        Ok(())
    }
}

/// A pattern over paths: `*` and `?` stay within one directory, `**` doesn't.
pub(crate) fn glob(text: &str) -> Result<Glob, globset::Error> {
    globset::GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build()
}

fn pattern(text: &str) -> Checked {
    glob(text).map(|_| ()).map_err(|e| format!("pattern {text:?}: {}", e.kind()))
}

fn path(template: &Template) -> Checked {
    let text = template.as_str();
    if !text.starts_with('/') {
        return Err(format!("path is {text:?}, expected one from the root: /usr/…"));
    }
    TreePath::new(text).map(|_| ()).map_err(|e| e.to_string())
}

fn unit(name: &str) -> Checked {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b));
    match name.rsplit_once('.') {
        Some((stem, kind)) if plain && !stem.is_empty() && !kind.is_empty() => Ok(()),
        _ => Err(format!("unit is {name:?}, expected a name as in \"x.service\"")),
    }
}

impl SourceTable {
    /// The text that says where.
    pub(crate) fn template(&self) -> &Template {
        match self {
            SourceTable::GithubReleases(t)
            | SourceTable::GithubTags(t)
            | SourceTable::GitlabTags(t)
            | SourceTable::HtmlIndex(t)
            | SourceTable::JsonIndex { url: t, .. }
            | SourceTable::KubernetesSchedule(t)
            | SourceTable::Text(t) => t,
        }
    }
}
