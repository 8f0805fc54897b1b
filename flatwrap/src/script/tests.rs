use super::*;
use tree::{Meta, Node, Tree};

#[test]
fn the_scripts_of_a_usual_extension() {
    let mut image = Tree::default();
    image.insert_all("/etc/ssl".parse().unwrap(), Node::dir(), &Meta::dir()).unwrap();
    let mut options = Options::new("web".parse().unwrap()).unwrap();
    options.etc = crate::Map::Host;
    image.insert_all("/usr/share/zoneinfo/UTC".parse().unwrap(), Node::dir(), &Meta::dir()).unwrap();
    options.env = vec![("LANG".into(), "C.UTF-8".into()), ("X".into(), "it's $(x)".into())];
    options.chroot_dirs = vec!["/etc/ssl".parse().unwrap()];
    options.binds = vec!["/data of mine:/srv:ro".parse().unwrap()];
    let mounts = Mounts::new(&image, &options).unwrap();
    insta::assert_snapshot!(entry(&options, &"/usr/bin/it's".parse().unwrap()), @r#"
        #!/bin/sh
        # Made by flatwrap: /usr/bin/it's in the private root of web.
        set -- "/usr/bin/it's" "$@"
        # shellcheck source=/dev/null
        . "${FLATWRAP_ROOT-}"/usr/lib/flatwrap/web/.flatwrap/enter
        "#);
    let (variables, _) = environment::variables(&image, &mounts, &options);
    let enter = enter(&options, &mounts, &variables, false);
    let from = enter.find("  exec bwrap").unwrap();
    insta::assert_snapshot!(&enter[from..], @r#"
          exec bwrap --die-with-parent --ro-bind "$_flatwrap_dir" / \
            --dev-bind-try /dev /dev \
            --dev-bind-try /etc /etc \
            --ro-bind "$_flatwrap_dir"/etc/ssl /etc/ssl \
            --dev-bind-try /home /home \
            --dev-bind-try /proc /proc \
            --dev-bind-try /root /root \
            --dev-bind-try /run /run \
            --ro-bind '/data of mine' /srv \
            --dev-bind-try /sys /sys \
            --dev-bind-try /tmp /tmp \
            --dev-bind-try /var /var \
            -- "$@"
        fi
        case $_flatwrap_open in
        user/* | kernel/unprivileged*)
          _flatwrap_refused "user namespaces are forbidden on this machine: /proc/sys/${_flatwrap_open%=*} is ${_flatwrap_open#*=}"
          ;;
        esac
        _flatwrap_try --user --map-root-user --mount
        exec "$_flatwrap_unshare" --user --map-root-user --mount --propagation slave -- \
          "$_flatwrap_dir/.flatwrap/as-user" "$_flatwrap_uid" "$_flatwrap_gid" "$@"
        "#);
    insta::assert_snapshot!(table(&mounts, Role::Root, false), @r"
        # Made by flatwrap.
        . ./.flatwrap/root none bind,ro 0 0
        /dev ./.flatwrap/root/dev none rbind,nofail 0 0
        /etc ./.flatwrap/root/etc none rbind,nofail 0 0
        ./etc/ssl ./.flatwrap/root/etc/ssl none rbind,ro 0 0
        /home ./.flatwrap/root/home none rbind,nofail 0 0
        /proc ./.flatwrap/root/proc none rbind,nofail 0 0
        /root ./.flatwrap/root/root none rbind,nofail 0 0
        /run ./.flatwrap/root/run none rbind,nofail 0 0
        /data\040of\040mine ./.flatwrap/root/srv none rbind,ro 0 0
        /sys ./.flatwrap/root/sys none rbind,nofail 0 0
        /tmp ./.flatwrap/root/tmp none rbind,nofail 0 0
        /var ./.flatwrap/root/var none rbind,nofail 0 0
        ./.flatwrap/root /. none rbind 0 0
        ");
    assert_eq!(
        format!("{}./.flatwrap/root /. none rbind 0 0\n", table(&mounts, Role::User, false)),
        table(&mounts, Role::Root, false)
    );
    // What is read-only stays so.
    let added = table(&mounts, Role::Root, false).replace(",ro", ",ro,nosuid,nodev");
    assert_eq!(table(&mounts, Role::Root, true), added);
    let of_host = Mounts::new(&Tree::default(), &Options::new("web".parse().unwrap()).unwrap()).unwrap();
    let zones = "/usr/share/zoneinfo ./.flatwrap/root/usr/share/zoneinfo none rbind,ro,nosuid,nodev,noexec,nofail 0 0\n";
    let table = table(&of_host, Role::User, true);
    assert!(table.contains(zones), "{table}");
}

#[test]
fn variables_that_no_shell_can_set() {
    let mut image = Tree::default();
    image.insert_all("/usr/bin/env".parse().unwrap(), Node::file(0o755, ""), &Meta::dir()).unwrap();
    let mut options = Options::new("web".parse().unwrap()).unwrap();
    options.image_env = vec![("discovery.type".into(), "single node".into()), ("a b".into(), "x".into())];
    options.env = vec![("x-y".into(), "z".into())];
    for (env, lines, left_out) in [
        (
            true,
            "set -- /usr/bin/env discovery.type='single node' \"$@\"\nset -- /usr/bin/env x-y=z \"$@\"\n",
            "a b",
        ),
        (false, "", "discovery.type a b x-y"),
    ] {
        if !env {
            image.remove(&"/usr/bin/env".parse().unwrap());
        }
        let mounts = Mounts::new(&image, &options).unwrap();
        let (variables, odd) = environment::variables(&image, &mounts, &options);
        assert_eq!((environment::script(&variables).as_str(), odd.join(" ").as_str()), (lines, left_out));
    }
}
