//! Who sees what, and that nothing stays behind.

use anyhow::Result;
use e2e::{Host, Work};
use flatwrap::Map;

use crate::{CALLERS, MAPPED, USER, musl_image, run, wrap};

#[test]
fn users_modes_and_maps() -> Result<()> {
    let work = Work::new()?;
    let mut extensions = Vec::new();
    let mut inner = format!(
        "export PROBE='for d in /etc /var /home; do if [ -e $d/whose ]; then cat $d/whose; else echo host; fi; done; \
         id -u; {MAPPED}'\n"
    );
    let mut expected = String::new();
    for bits in 0..8 {
        let map = |bit: u32| if bits & bit == 0 { Map::Host } else { Map::Chroot };
        let say = |bit: u32| if bits & bit == 0 { "host" } else { "image" };
        let name = format!("probe{bits}");
        extensions.push(wrap(work.path(), musl_image(work.path())?, &name, |o| {
            (o.etc, o.var, o.home) = (map(1), map(2), map(4));
        })?);
        for caller in CALLERS {
            let uid = if caller == "as_root" { "0" } else { USER };
            inner += &format!("echo {caller} {name}; {caller} {name}\n");
            expected += &format!(
                "{caller} {name}\n{}\n{}\n{}\n{uid}\n/lib/ld-musl-x86_64.so.1\n/usr/bin/maps\n",
                say(1),
                say(2),
                say(4)
            );
        }
    }
    assert_eq!(run(work.path(), &extensions, &inner)?, expected);
    Ok(())
}

/// What a program mounted is gone when it ends, and one that runs goes on when the extension is unmerged and merged
/// again.
#[test]
fn nothing_stays_behind_and_a_refresh_disturbs_nobody() -> Result<()> {
    let work = Work::new()?;
    let extension = wrap(work.path(), musl_image(work.path())?, "probe", |_| {})?;
    let inner = r#"
before=$(wc -l </proc/self/mountinfo)
for caller in as_root as_user as_user_with_bwrap; do
  PROBE='echo $0' $caller probe
done
[ "$(wc -l </proc/self/mountinfo)" = "$before" ] && echo "no mount left"
for caller in as_root as_user as_user_with_bwrap; do
  mkfifo -m 666 /tmp/go.$caller /tmp/out.$caller
  # Both ends are open once the program runs.
  PROBE="echo running; read x <&3; ls /lib; id -u; cat /etc/hostname" $caller probe 3<>/tmp/go.$caller >/tmp/out.$caller &
  exec 4</tmp/out.$caller
  read -r line <&4
  echo "$caller $line"
  systemd-sysext unmerge >/dev/null 2>&1
  [ ! -e /usr/bin/probe ] && echo unmerged
  echo go >/tmp/go.$caller
  cat <&4
  systemd-sysext merge >/dev/null 2>&1
  [ -e /usr/bin/probe ] && echo merged
done
"#;
    let name = std::fs::read_to_string(Host::bookworm()?.root().join("etc/hostname"))?;
    let mut expected = "/usr/bin/probe\n".repeat(3) + "no mount left\n";
    for caller in CALLERS {
        let uid = if caller == "as_root" { "0" } else { USER };
        expected += &format!("{caller} running\nunmerged\nld-musl-x86_64.so.1\n{uid}\n{name}merged\n");
    }
    assert_eq!(run(work.path(), &[extension], inner)?, expected);
    Ok(())
}
