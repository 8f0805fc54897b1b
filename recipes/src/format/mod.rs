//! `recipe.toml` as it is typed. The JSON schema and the reference in the documentation are made from these types.

mod scalar;
pub use scalar::PatternError;
pub use scalar::{Architecture, Mode, Pattern};

mod checksum;
pub use checksum::ListTable;
pub use checksum::{ChecksumTable, ChecksumWord};

mod describe;
pub use describe::schema;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::{template::Template, version::Range};

/// A recipe: what an extension is, where its parts come from and where they go. In all texts that are marked as templates,
/// `{word}` stands for a value: `{name}`, `{version}`, `{plain}` (without a `v` before it), `{major}`, `{minor}` (the first two numbers), `{arch}` (x86-64,
/// arm64), `{goarch}` (amd64, arm64), `{uname}` (x86_64, aarch64), each parameter and each variable.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "recipe.toml")]
pub struct RecipeFile {
    /// What it is, in one line.
    pub summary: String,
    /// Upstream's page.
    pub homepage: Option<String>,
    /// Licence of what is shipped, as an SPDX expression.
    pub licence: Option<String>,
    /// What kind of thing it is.
    pub category: Option<Category>,
    /// Words by which the catalogue's page finds it, besides those of its name, summary, files and units.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Former names. They are accepted wherever a name is.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whether the host's service manager is reloaded after merging. Default: if there are units.
    pub reload: Option<bool>,
    /// Architectures that upstream has. Default: x86-64 and arm64.
    pub architectures: Option<Vec<Architecture>>,
    /// Extensions that can't be merged at the same time.
    #[serde(default)]
    pub conflicts: Vec<String>,
    /// Extensions of the system itself that must not be merged beside it: snippets link them to /dev/null.
    #[serde(default)]
    pub masks: Vec<String>,
    /// Extensions that have to be merged, too.
    #[serde(default)]
    #[schemars(with = "Vec<RequiresTable>")]
    pub requires: Vec<Spanned<RequiresTable>>,
    /// Further update streams, besides that of all versions.
    #[serde(default)]
    pub streams: Vec<Stream>,
    /// Libraries (sonames) of the host that the ELF files may need. Any other is an error on hosts of any kind.
    #[serde(default)]
    pub host_libraries: Vec<String>,
    /// Rules of the lint that upstream forces us to break.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Markdown for the extension's page: how it is used, what is odd about it.
    #[serde(default)]
    pub notes: String,

    /// Where the versions are listed.
    #[schemars(with = "VersionsTable")]
    pub versions: Spanned<VersionsTable>,
    /// What `--set NAME=VALUE` changes; each is a word in templates.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ParameterTable>")]
    pub parameters: BTreeMap<String, Spanned<ParameterTable>>,
    /// What `--without NAME` leaves out, each with a line about it. One at least stays.
    #[serde(default)]
    pub components: BTreeMap<String, String>,
    /// Words for templates whose values depend on version or architecture.
    #[serde(default)]
    #[schemars(with = "Vec<VariableTable>")]
    pub variable: Vec<Spanned<VariableTable>>,
    /// Files of upstream's.
    #[serde(default)]
    #[schemars(with = "Vec<DownloadTable>")]
    pub download: Vec<Spanned<DownloadTable>>,
    /// What goes from downloads into the extension.
    #[serde(default)]
    #[schemars(with = "Vec<InstallTable>")]
    pub install: Vec<Spanned<InstallTable>>,
    /// Files that the recipe brings along, besides those in `files/`.
    #[serde(default)]
    #[schemars(with = "Vec<FileTable>")]
    pub file: Vec<Spanned<FileTable>>,
    /// Conditions on what is in `files/`.
    #[serde(default)]
    #[schemars(with = "Vec<OnlyTable>")]
    pub only: Vec<Spanned<OnlyTable>>,
    /// Symbolic links.
    #[serde(default)]
    #[schemars(with = "Vec<SymlinkTable>")]
    pub symlink: Vec<Spanned<SymlinkTable>>,
    /// Units that start by themselves.
    #[serde(default)]
    #[schemars(with = "Vec<UpholdTable>")]
    pub uphold: Vec<Spanned<UpholdTable>>,
    /// Units that are restarted when the extension is merged in another version.
    #[serde(default)]
    #[schemars(with = "Vec<RestartTable>")]
    pub restart: Vec<Spanned<RestartTable>>,
    /// What is compiled.
    #[schemars(with = "Option<BuildTable>")]
    pub build: Option<Spanned<BuildTable>>,
    /// What is taken out of an OCI image; all else is added to it.
    #[schemars(with = "Option<ImageTable>")]
    pub image: Option<Spanned<ImageTable>>,
    /// What `bakery test` runs in the merged extension.
    #[serde(default)]
    #[schemars(with = "Vec<TestTable>")]
    pub test: Vec<Spanned<TestTable>>,
}

/// What kind of thing an extension is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say what each is
pub enum Category {
    Containers,
    Orchestration,
    Network,
    Monitoring,
    Security,
    Virtualization,
    #[serde(rename = "webassembly")]
    WebAssembly,
    MachineLearning,
    Development,
    System,
}

impl Category {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Category::Containers => "Containers",
            Category::Orchestration => "Orchestration",
            Category::Network => "Network",
            Category::Monitoring => "Monitoring",
            Category::Security => "Security",
            Category::Virtualization => "Virtualization",
            Category::WebAssembly => "WebAssembly",
            Category::MachineLearning => "Machine learning",
            Category::Development => "Development",
            Category::System => "System",
        }
    }
}

/// An extension that has to be merged, too.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RequiresTable {
    /// Its name.
    pub extension: String,
    /// The version of it. A template. Default: any.
    pub version: Option<Template>,
}

/// A further update stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// One per minor version: `NAME-vX.Y`.
    Minor,
}

/// Where the versions are listed, and which of them count.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VersionsTable {
    /// The list.
    pub source: SourceTable,
    /// What an entry of the list has to look like as a whole; the first group, if there is one, is the version. Default:
    /// all, the whole entry.
    pub r#match: Option<Pattern>,
    /// What is built if no version is named. Default: newest.
    #[serde(default)]
    pub latest: Latest,
    /// How many minor versions `newest-per-minor` takes. Default: 5.
    pub minors: Option<u32>,
}

/// A list of versions. All values are templates.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SourceTable {
    /// OWNER/REPOSITORY on GitHub: tags of its releases, no drafts and no pre-releases.
    GithubReleases(Template),
    /// OWNER/REPOSITORY on GitHub: its tags.
    GithubTags(Template),
    /// URL of a project on a GitLab: its tags.
    GitlabTags(Template),
    /// URL of a page with links: the last part of each.
    HtmlIndex(Template),
    /// A JSON document.
    JsonIndex {
        /// Its URL.
        url: Template,
        /// JSON pointer (RFC 6901) to a text or a list of texts; `*` as a part stands for all members.
        pointer: String,
        /// Whether the versions are the keys of the object that the pointer leads to. Default: no.
        #[serde(default)]
        keys: bool,
        /// Where each branch has a document of its own, whose URL has `{branch}`: the list of branches. Default: one document.
        branches: Option<Box<BranchesTable>>,
    },
    /// URL of the schedule of Kubernetes' releases (schedule.yaml).
    KubernetesSchedule(Template),
    /// URL of a text: each of its lines.
    Text(Template),
}

/// The word of a URL that stands for each of the branches.
pub(crate) const BRANCH: &str = "branch";

/// A list of branches.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BranchesTable {
    /// The list.
    pub source: SourceTable,
    /// As in `[versions]`.
    pub r#match: Option<Pattern>,
}

/// What is built if no version is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Latest {
    /// The newest version.
    #[default]
    Newest,
    /// The newest patch of each of the last minor versions.
    NewestPerMinor,
    /// The newest patch of each minor version that Kubernetes supports.
    KubernetesMinors,
}

/// Something that `--set` changes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ParameterTable {
    /// What it is, in one line.
    pub about: String,
    /// Where its value is found: the newest of the list. `bakery lock` pins it.
    pub source: Option<SourceTable>,
    /// As in `[versions]`.
    pub r#match: Option<Pattern>,
    /// Its value if `--set` gives none. A template.
    pub default: Option<Template>,
    /// Whether `--set` has to give it.
    #[serde(default)]
    pub required: bool,
}

/// Conditions; all that are given have to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct When {
    /// Versions: `<2.0.0`, `>=1.2, <1.4`.
    pub version: Option<Range>,
    /// The architecture.
    pub arch: Option<Architecture>,
    /// A component that is in.
    pub with: Option<String>,
    /// A component that is out.
    pub without: Option<String>,
}

/// A word for templates. Of several with one name, the first whose condition holds counts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VariableTable {
    /// The word: small letters, digits, hyphens.
    pub name: String,
    /// What it stands for. A template; it may use the variables before it.
    pub value: Template,
    /// When.
    #[serde(default)]
    pub when: When,
}

/// A file of upstream's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DownloadTable {
    /// What `[[install]]` calls it.
    pub id: String,
    /// Where it is. A template.
    pub url: Template,
    /// How it is checked before it is pinned.
    pub checksum: ChecksumTable,
    /// Its signature, if upstream signs.
    pub signature: Option<SignatureTable>,
    /// What it is. Default: by its name.
    pub archive: Option<Archive>,
    /// Leading parts of the paths in the archive that are dropped. Default: 0.
    #[serde(default)]
    pub strip: u32,
    /// Archives in this archive that are unpacked in their turn. A pattern.
    pub inside: Option<Template>,
    /// When.
    #[serde(default)]
    pub when: When,
}

/// A signature: one of openpgp, ed25519, minisign and cosign. URLs are templates; `{url}` and `{file}` are the download's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SignatureTable {
    /// URL of a detached OpenPGP signature.
    pub openpgp: Option<Template>,
    /// URL of a raw Ed25519 signature.
    pub ed25519: Option<Template>,
    /// URL of a minisign signature.
    pub minisign: Option<Template>,
    /// URL of a signature by cosign with a key (`cosign sign-blob --key`).
    pub cosign: Option<Template>,
    /// The public key, below the recipe's folder.
    pub key: Option<String>,
}

/// What a download is. Compression is detected from the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// A tar, compressed or not.
    Tar,
    /// A zip.
    Zip,
    /// A Debian package.
    Deb,
    /// Just a file.
    File,
}

/// What goes from a download into the extension.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct InstallTable {
    /// `ID:PATTERN`, or `ID` for a download that is just a file; `build:PATTERN` for what `[build]` made. `*` stays within one directory, `**` doesn't. A template.
    pub from: Template,
    /// Where it goes: with a slash at its end into that directory, the tree below the pattern's fixed part kept; without
    /// one it is the name of the one file. A template.
    pub to: Template,
    /// Permissions of files. Default: 0755 if upstream's has any x bit, 0644 else. Directories get 0755.
    pub mode: Option<Mode>,
    /// Patterns of what is left out.
    #[serde(default)]
    pub(crate) except: Vec<Template>,
    /// Changes in text files.
    #[serde(default)]
    pub replace: Vec<ReplaceTable>,
    /// Whether it is no error if nothing matches.
    #[serde(default)]
    pub optional: bool,
    /// When.
    #[serde(default)]
    pub when: When,
}

/// A change in a text file. What is replaced has to occur.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReplaceTable {
    /// The text as upstream has it. A template.
    pub from: Template,
    /// What stands in its place. A template.
    pub to: Template,
}

/// A file that the recipe brings along.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileTable {
    /// Its place. A template.
    pub path: Template,
    /// What is in it. A template.
    pub content: Option<Template>,
    /// Or: the file below `parts/` that it is.
    pub source: Option<String>,
    /// Whether the file below `parts/` is a template. Default: no.
    #[serde(default)]
    pub template: bool,
    /// Permissions. Default: 0644.
    pub mode: Option<Mode>,
    /// When.
    #[serde(default)]
    pub when: When,
}

/// A condition on what is in `files/`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OnlyTable {
    /// Patterns of paths in the extension.
    pub paths: Vec<String>,
    /// When they are in.
    pub when: When,
}

/// A symbolic link.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SymlinkTable {
    /// Its place. A template.
    pub path: Template,
    /// Where it leads. A template.
    pub target: Template,
    /// When.
    #[serde(default)]
    pub when: When,
}

/// A unit that starts by itself: a drop-in with `Upholds=` for a target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UpholdTable {
    /// The unit.
    pub unit: String,
    /// The target that wants it. Default: multi-user.target.
    pub target: Option<String>,
    /// When.
    #[serde(default)]
    pub when: When,
}

/// A unit of the extension that is restarted when the extension is merged or refreshed (systemd of 2026 and later). One that
/// doesn't run is started.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RestartTable {
    /// The unit.
    pub unit: String,
    /// Whether it is reloaded if it can be. A reload runs the old program. Default: no.
    #[serde(default)]
    pub reload: bool,
    /// When.
    #[serde(default)]
    pub when: When,
}

/// What is compiled: a script in an OCI image, in the sandbox. It installs below `$DESTDIR`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BuildTable {
    /// The image. A template.
    pub image: Template,
    /// Packages of the image's distribution that are installed first, as its package manager takes them: `NAME`, or for apt
    /// `NAME={version}*`. Templates.
    #[serde(default)]
    pub packages: Vec<Template>,
    /// Downloads that the script finds unpacked as `/src/ID`.
    #[serde(default)]
    pub sources: Vec<String>,
    /// A source written in Rust: the crates that its `Cargo.lock` pins are downloaded, verified by its checksums, and vendored,
    /// so that cargo finds them without a network.
    pub crates_of: Option<String>,
    /// Environment variables. Templates.
    #[serde(default)]
    pub environment: BTreeMap<String, Template>,
    /// The script, for /bin/sh -eu. A template.
    pub script: Template,
}

/// What is taken out of an OCI image.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageTable {
    /// The image. A template.
    pub reference: Template,
    /// How.
    pub tool: Tool,
    /// Packages of the image's distribution that are installed first, as its package manager takes them: `NAME`, or for apt
    /// `NAME={version}*`. Templates.
    #[serde(default)]
    pub packages: Vec<Template>,
    /// Programs, files, folders and units: PATH or PATH:DEST, as on the tool's command line. Templates.
    pub paths: Vec<Template>,
    /// Whether hosts get users, directories in /var, and files in /etc that units need, as far as packages in the image have
    /// them. Default: yes.
    pub service_files: Option<bool>,
}

/// How files are taken out of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// Programs with the libraries that they need.
    Flix,
    /// All of the image, behind entry points.
    Flatwrap,
}

/// What `bakery test` runs in the merged extension.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TestTable {
    /// The command, for /bin/sh. A template.
    pub run: Template,
    /// What its output has to have in it. A template.
    pub expect: Option<Template>,
    /// When.
    #[serde(default)]
    pub when: When,
}
