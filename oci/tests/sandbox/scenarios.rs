//! What is tried.

use crate::support::{Case, MODES, Scenario};

/// Name, modes, scenario.
pub const ALL: &[Scenario] = &[("changes", MODES, changes)];

/// Waits to be killed.
pub fn wait(_: &Case) {}

fn changes(case: &Case) {
    let dump = case.changes(
        "echo new > /srv/new; rm /srv/old/file; rm -r /srv/old/dir; mkdir /srv/old/dir; echo x > /srv/old/dir/x; \
         chown 33:33 /srv/new; echo x >> /etc/shadow",
    );
    assert_eq!(
        dump,
        "/etc dir 0755 0:0\n\
         /etc/shadow file 0640 0:42 16 \"root:*:::::::\\nx\\n\"\n\
         /srv dir 0755 0:0\n\
         /srv/new file 0644 33:33 4 \"new\\n\"\n\
         /srv/old dir 0755 0:0\n\
         /srv/old/.wh.file file 0000 0:0 0 \"\"\n\
         /srv/old/dir dir 0755 0:0\n\
         /srv/old/dir/.wh..wh..opq file 0000 0:0 0 \"\"\n\
         /srv/old/dir/x file 0644 0:0 2 \"x\\n\"\n"
    );
}
