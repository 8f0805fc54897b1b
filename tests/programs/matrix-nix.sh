#!/bin/sh
# Makes a root in Nix's manner out of a merged Debian root for x86-64: everything is in a folder of its own in /nix/store, programs
# name the loader there, and DT_RUNPATH names each folder that a library is in. There is no /lib, /usr/lib nor ld.so.conf.
# usage: matrix-nix.sh ROOT NEW
set -eu
export LC_ALL=C
root=$1 new=$2
old=/usr/lib/x86_64-linux-gnu
# As long as the folder that is compiled into glibc.
libc=/nix/store/g2l3i-libc/lib
loader=$libc/ld-linux-x86-64.so.2
mkdir -p "$new$libc" "$new/bin" "$new/etc" "$new/tmp" "$new/dev" "$new/proc"
cp "$root/etc/hosts" "$root/etc/passwd" "$root/etc/group" "$new/etc/"

# Prints the folder in the store for a file.
store() {
    echo "/nix/store/$(sha256sum "$1" | cut -c 1-32)-$2"
}

# What the loader finds for a file: lines "NAME FILE", of all that it needs, directly or not.
closure() {
    chroot "$root" /lib64/ld-linux-x86-64.so.2 --list "$1" | awk '$2 == "=>" { print $1, $3 }'
}

# Puts the libraries of a file into the store, and prints its run path.
runpath() {
    closure "$1" | while read -r name file; do
        case $name in
        libc.so.6 | libm.so.6 | libpthread.so.0 | libdl.so.2 | librt.so.1 | libresolv.so.2 | libutil.so.1 | ld-linux*) echo "$libc"; continue ;;
        esac
        real=$(chroot "$root" readlink -f "$file")
        folder=$(store "$root$real" "${name%%.so*}")/lib
        echo "$folder"
        [ ! -e "$new$folder/$name" ] || continue
        mkdir -p "$new$folder"
        cp "$root$real" "$new$folder/$name"
        path=$(runpath "$real")
        patchelf --set-rpath "$path" "$new$folder/$name"
    done | sort -u | tr '\n' ':' | sed 's/:$//'
}

# program FILE PACKAGE NAME
program() {
    folder=$(store "$root$1" "$2")
    [ "$2" != matrix ] || folder=/nix/store/0123456789abcdfghijklmnpqrsvwxyz-matrix
    mkdir -p "$new$folder/bin"
    cp "$root$1" "$new$folder/bin/$3"
    path=$(runpath "$1")
    patchelf --set-interpreter "$loader" --set-rpath "$path" "$new$folder/bin/$3"
    folder_of_program=$folder
}

# modules FOLDER: of all shared objects below it, which came from OLD.
modules() {
    (cd "$new$1" && find . -name '*.so' -type f) | while read -r file; do
        path=$(runpath "$2/$file")
        [ -z "$path" ] || patchelf --set-rpath "$path" "$new$1/$file"
    done
}

# glibc, with the folder that is compiled in.
for file in ld-linux-x86-64.so.2 libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 libresolv.so.2 libutil.so.1 libnss_files.so.2 libnss_dns.so.2; do
    sed "s|$old|$libc|g" "$root$old/$file" > "$new$libc/$file"
    chmod 755 "$new$libc/$file"
    case $file in ld-*) ;; *) patchelf --set-rpath "$libc" "$new$libc/$file" ;; esac
done
cp -a "$root$old/gconv" "$new$libc/gconv"
# The cache names the folder of each module.
sed -i "s|$old|$libc|g" "$new$libc/gconv/gconv-modules.cache"

program /usr/bin/bash bash bash
bash=$folder_of_program
ln -s "$bash/bin/bash" "$new/bin/sh"
program /usr/bin/dash dash dash
program /usr/bin/curl curl curl
for name in cc rs go; do
    [ ! -e "$root/usr/bin/matrix-$name" ] || program "/usr/bin/matrix-$name" matrix "matrix-$name"
done
sed "1s|.*|#!$bash/bin/bash|" "$root/usr/bin/matrix-sh" > "$new/nix/store/0123456789abcdfghijklmnpqrsvwxyz-matrix/bin/matrix-sh"
chmod 755 "$new"/nix/store/*-matrix/bin/matrix-sh

python=$(basename "$(readlink "$root/usr/bin/python3")")
program "/usr/bin/$python" python3 "$python"
ln -s "$python" "$new$folder_of_program/bin/python3"
mkdir -p "$new$folder_of_program/lib"
cp -a "$root/usr/lib/$python" "$new$folder_of_program/lib/$python"
modules "$folder_of_program/lib/$python" "/usr/lib/$python"

program /usr/bin/perl perl perl
perl5=$folder_of_program/lib/perl5
mkdir -p "$new$perl5"
for from in "$root"/usr/share/perl/5.*/ "$root$old"/perl/5.*/ "$root$old/perl-base/"; do
    [ ! -L "${from%/}" ] || continue
    cp -a "$from." "$new$perl5/"
    modules_of=${from#"$root"}
    (cd "$from" && find . -name '*.so' -type f) | while read -r file; do
        path=$(runpath "$modules_of$file")
        [ -z "$path" ] || patchelf --set-rpath "$path" "$new$perl5/$file"
    done
done
