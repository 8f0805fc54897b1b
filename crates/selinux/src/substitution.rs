//! `file_contexts.subs` and `.subs_dist`: paths that are labeled as if they were others. selabel_file(5), "Substitution Files".

/// One file of substitutions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Substitutions {
    /// A path, and the one in its place; the one that counts first comes first.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Substitutions {
    pub(crate) fn parse(text: &[u8]) -> Substitutions {
        let pair = |line: &[u8]| {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let from = words.next().filter(|word| !word.starts_with(b"#"))?;
            Some((from.to_vec(), words.next()?.to_vec()))
        };
        let mut pairs: Vec<_> = text.split(|b| *b == b'\n').filter_map(pair).collect();
        // The last line wins.
        pairs.reverse();
        Substitutions { pairs }
    }

    /// The path that counts in place of `path`; none if that is itself.
    pub(crate) fn apply(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.pairs.iter().find_map(|(from, to)| {
            let rest = path.strip_prefix(from.as_slice())?;
            match rest.first() {
                None => Some(to.clone()),
                Some(b'/') if to == b"/" => Some(rest.to_vec()),
                Some(b'/') => Some([to, rest].concat()),
                Some(_) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_components_are_replaced_once() {
        let all =
            Substitutions::parse(b"# x\n/lib /usr/lib\n  /lib64\t/usr/lib\n/root /\n/one\n\n/lib /last\n");
        let apply = |path: &str| all.apply(path.as_bytes()).map(|p| String::from_utf8(p).unwrap());
        assert_eq!(apply("/lib64/x").as_deref(), Some("/usr/lib/x"));
        assert_eq!(apply("/lib64").as_deref(), Some("/usr/lib"));
        assert_eq!(apply("/lib/x").as_deref(), Some("/last/x"));
        assert_eq!(apply("/libx"), None);
        assert_eq!(apply("/root/a").as_deref(), Some("/a"));
        assert_eq!(apply("/root").as_deref(), Some("/"));
        assert_eq!(apply("/one"), None);
    }
}
