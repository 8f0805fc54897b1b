#!/bin/sh
# The peer of flatwrap's benchmark: what a shell script has to do for the same image, with cp and mksquashfs, and with
# entry points that put the private root together anew at each start.
# usage: flatwrap-steps.sh ROOT NAME DIR [PATH…]    (makes DIR and DIR.raw)
set -eu
root=$1 name=$2 work=$3
shift 3
sysroot=$work/usr/lib/flatwrap/$name
mkdir -p "${sysroot%/*}" "$work/usr/bin" "$work/usr/lib/extension-release.d"
printf 'ID=_any\n' > "$work/usr/lib/extension-release.d/extension-release.$name"
cp -a "$root" "$sysroot"
mkdir "$sysroot/.place"

cat > "$sysroot/.helper" <<'END'
#!/bin/sh
# A memory file system with a directory for each of the image's and of the host's, and one mount for each.
set -eu
root=${0%/*}
place=$root/.place
uid=$1 gid=$2
shift 2
mount -t tmpfs tmpfs "$place"
for dir in bin lib lib64 opt sbin srv usr; do
    mkdir -p "$place/$dir"
    mount --rbind "$root/$dir" "$place/$dir"
done
for dir in dev etc home proc root run sys tmp var; do
    mkdir -p "$place/$dir"
    mount --rbind "/$dir" "$place/$dir"
done
if [ "$uid" = 0 ]; then
    exec unshare --root "$place" --wd / "$@"
fi
exec unshare --user --map-user="$uid" --map-group="$gid" --root "$place" --wd / "$@"
END
chmod 755 "$sysroot/.helper"

for path; do
    cat > "$work/usr/bin/${path##*/}" <<END
#!/bin/sh
set -eu
root=\${FLATWRAP_ROOT-}/usr/lib/flatwrap/$name
uid=\$(id -u)
gid=\$(id -g)
if [ "\$uid" = 0 ]; then
    exec unshare --mount "\$root/.helper" "\$uid" "\$gid" "$path" "\$@"
elif [ -z "\${NOBWRAP-}" ] && command -v bwrap > /dev/null; then
    set -- "$path" "\$@"
    for dir in bin lib lib64 opt sbin srv usr; do
        set -- --ro-bind "\$root/\$dir" "/\$dir" "\$@"
    done
    for dir in etc home root run sys tmp var; do
        [ ! -e "/\$dir" ] || set -- --bind "/\$dir" "/\$dir" "\$@"
    done
    exec bwrap --dev-bind /dev /dev --proc /proc "\$@"
else
    exec unshare --user --map-root-user --mount "\$root/.helper" "\$uid" "\$gid" "$path" "\$@"
fi
END
    chmod 755 "$work/usr/bin/${path##*/}"
done
mksquashfs "$work" "$work.raw" -quiet -no-progress -all-root -noappend -comp gzip
