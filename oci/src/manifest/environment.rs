//! The variables that a config sets.

use super::Config;

/// Where every system's programs are.
const USUAL_PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Variables that are about the build of the image, or that every process has of its own.
const USUAL: [&str; 8] =
    ["HOME", "TERM", "HOSTNAME", "USER", "SHELL", "container", "DEBIAN_FRONTEND", "LD_LIBRARY_PATH"];

/// What names end with that tell where the image's files come from.
const BUILD: [&str; 11] = [
    "_VERSION",
    "_RELEASE",
    "_SHA",
    "_SHA1",
    "_SHA256",
    "_SHA512",
    "_CHECKSUM",
    "_KEY",
    "_KEYS",
    "_URL",
    "_REVISION",
];

impl Config {
    /// Names and values, each name once: the last counts.
    pub fn variables(&self) -> Vec<(&str, &str)> {
        let mut out: Vec<(&str, &str)> = Vec::new();
        for (name, value) in self.env.iter().filter_map(|v| v.split_once('=')) {
            out.retain(|(n, _)| *n != name);
            out.push((name, value));
        }
        out
    }

    /// Names of the variables without which a program may do something else than in the image. Neither what is as
    /// everywhere, nor notes on how the image was built.
    pub fn notable_variables(&self) -> Vec<&str> {
        let notable = |(name, value): &(&str, &str)| match *name {
            "PATH" => !value.split(':').all(|dir| USUAL_PATH.contains(&dir)),
            "LANG" | "LC_ALL" => !matches!(*value, "C" | "POSIX"),
            name => {
                let build = name.rsplit_once("GPG_").is_some() || BUILD.iter().any(|end| name.ends_with(end));
                !build && !USUAL.contains(&name)
            }
        };
        self.variables().into_iter().filter(notable).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_matter() {
        let env = [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "JAVA_HOME=/x",
            "JAVA_HOME=/opt/java",
            "JAVA_VERSION=jdk-21",
            "GPG_KEY=AB",
            "PYTHON_SHA256=12",
            "LANG=C.UTF-8",
            "EMPTY=",
            "A=b=c",
            "odd",
        ];
        let mut config = Config { env: env.map(String::from).to_vec(), ..Config::default() };
        assert_eq!(config.notable_variables(), ["JAVA_HOME", "LANG", "EMPTY", "A"]);
        assert_eq!(config.variables()[1..3], [("JAVA_HOME", "/opt/java"), ("JAVA_VERSION", "jdk-21")]);
        config.env = vec!["PATH=/opt/java/bin:/usr/bin".into()];
        assert_eq!(config.notable_variables(), ["PATH"]);
    }
}
