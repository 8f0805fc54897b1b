#!/bin/sh
# Makes a distribution's layout out of a merged Debian root for x86-64, by moving its files.
# usage: matrix-layout.sh ROOT NEW LAYOUT
set -eu
export LC_ALL=C
root=$1 new=$2 layout=$3
case $layout in
fedora | suse | old) lib=lib64 padding=/////////////// ;;
arch | wolfi) lib=lib padding=///////////////// ;;
esac
old=lib/x86_64-linux-gnu
cp -al "$root" "$new"
cd "$new"

# The files. What was a symlink to the loader in /lib64 goes, and so does what only Debian's ldconfig is told.
rm -r usr/lib64 lib64 etc/ld.so.cache etc/ld.so.conf.d
mkdir -p "usr/$lib"
cp -al "usr/$old/." "usr/$lib/"
rm -r "usr/$old"
ln -s "usr/$lib" lib64

# The folders that are compiled in; all files that name them are new ones, since the others share theirs with ROOT.
grep -rlF "$old" bin/ "usr/bin" "usr/lib" "usr/$lib" usr/share/perl usr/share/perl5 2>/dev/null | sort -u | while read -r file; do
    if [ -L "$file" ]; then
        continue
    elif grep -qI . "$file"; then
        sed -i "s|$old|$lib|g" "$file"
    else
        sed -i "s|$old|$lib$padding|g" "$file"
    fi
done
find usr -type l -lname "*$old*" | while read -r link; do
    to=$(readlink "$link")
    ln -sf "$(printf %s "$to" | sed "s|$old|$lib|")" "$link"
done

case $layout in
fedora)
    # As glibc's package has it.
    mkdir etc/ld.so.conf.d
    echo 'include ld.so.conf.d/*.conf' > etc/ld.so.conf
    ;;
suse)
    printf '/usr/local/lib64\n/usr/local/lib\ninclude /etc/ld.so.conf.d/*.conf\n' > etc/ld.so.conf
    mkdir -p usr/etc
    for file in etc/nsswitch.conf etc/gai.conf etc/host.conf; do
        [ ! -e "$file" ] || mv "$file" usr/etc/
    done
    ;;
arch) rm -f etc/ld.so.conf ;;
wolfi)
    # /lib64 is a folder with one symlink.
    rm lib64 etc/ld.so.conf
    mkdir lib64
    ln -s /lib/ld-linux-x86-64.so.2 lib64/ld-linux-x86-64.so.2
    ;;
old)
    # Not merged, and two names lead to each file of glibc.
    rm lib lib64
    mkdir lib
    mv usr/lib64 lib64
    mkdir usr/lib64
    for file in gconv perl perl-base perl5 engines-3 ossl-modules; do
        [ ! -e "lib64/$file" ] || mv "lib64/$file" usr/lib64/
    done
    echo 'include ld.so.conf.d/*.conf' > etc/ld.so.conf
    cd lib64
    mv ld-linux-x86-64.so.2 ld-2.31.so
    ln -s ld-2.31.so ld-linux-x86-64.so.2
    for name in libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 libutil.so.1 libresolv.so.2; do
        file=${name%%.so*}-2.31.so
        mv "$name" "$file"
        ln -s "$file" "$name"
    done
    ;;
esac
[ "$layout" = old ] || [ "$(readlink lib)" = usr/lib ]
