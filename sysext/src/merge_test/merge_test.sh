root=$1 scratch=$2
shift 2
place=$scratch/place
mount --make-rshared /
mount --bind "$root" "$place"
# A peer group of its own: what is mounted here must not hide the caller's /tmp, /var and /run, where images may be.
mount --make-private "$place"
mount --make-shared "$place"
mount -o remount,ro,bind "$place"
# A /usr of its own isn't in it. What systemd-sysext has mounted over one that is, is left behind.
for dir in usr opt; do
    if mountpoint -q "$root/$dir" && [ -z "$(ls -A "$place/$dir")" ]; then
        mount --bind "$root/$dir" "$place/$dir"
        mount -o remount,ro,bind "$place/$dir"
        if [ -e "$place/$dir/.systemd-sysext" ]; then
            echo "/$dir has extensions merged, which hide what is below: systemd-sysext unmerge comes first" >&2
            exit 1
        fi
    fi
done
mount -t tmpfs tmpfs "$place/run"
mount -t tmpfs tmpfs "$place/tmp"
mount -t tmpfs tmpfs "$place/var"
mount -t proc proc "$place/proc"
mount -t sysfs -o ro sysfs "$place/sys"
mount --rbind /dev "$place/dev"
mkdir -p "$place/var/tmp" "$place/run/extensions"
# A copy, so that a test may put there what a service expects, as systemd-tmpfiles does. It hides /etc/extensions, too.
cp -a "$root/etc" "$scratch/etc"
rm -rf "$scratch/etc/extensions"
mkdir "$scratch/etc/extensions"
mount --bind "$scratch/etc" "$place/etc"
# An image of its own size takes as much memory: bound, not copied.
names=
while [ $# -gt 0 ]; do
    names="$names $1"
    if [ -d "$2" ]; then
        mkdir "$place/run/extensions/$1"
        mount --bind "$2" "$place/run/extensions/$1"
    else
        : > "$place/run/extensions/$1.raw"
        mount --bind "$2" "$place/run/extensions/$1.raw"
    fi
    shift 2
done
# The manager that a merge would ask to reload its units isn't this root's: systemd 255 and later fail when it doesn't answer.
reload=
if chroot "$place" systemd-sysext --help | grep -q -e --no-reload; then
    reload=--no-reload
fi
chroot "$place" systemd-sysext --no-pager $reload merge >&2
for name in $names; do
    if ! [ -e "$place/usr/lib/extension-release.d/extension-release.$name" ]; then
        echo "systemd-sysext left $name out" >&2
        exit 1
    fi
done
for test in "$scratch"/tests/[0-9][0-9][0-9][0-9]; do
    [ -e "$test" ] || continue
    status=0
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root \
        chroot "$place" /bin/sh -c "$(cat "$test")" >"$test.out" 2>&1 </dev/null || status=$?
    echo "$status" >"$test.status"
done
