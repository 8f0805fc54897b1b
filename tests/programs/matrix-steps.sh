#!/bin/sh
# The peer of the matrix: what a shell script does with patchelf, cp and mksquashfs, for any root of any machine.
# usage: matrix-steps.sh ROOT NAME OUT PATH[:DEST]…
set -eu
root=$1 name=$2 out=$3
shift 3
work=$out.d
sysroot=/usr/lib/flix/$name
lib=$work$sysroot/lib
mkdir -p "$lib" "$work/usr/lib/extension-release.d"
printf 'ID=_any\n' > "$work/usr/lib/extension-release.d/extension-release.$name"

# The file that a path of the root leads to.
file_of() {
    at=$1
    while [ -L "$root$at" ]; do
        link=$(readlink "$root$at")
        case $link in /*) at=$link ;; *) at=${at%/*}/$link ;; esac
    done
    printf '%s\n' "$root$at"
}

# The loader that the first program of the list names, or bash for scripts alone.
find_loader() {
    for item in "$@" /bin/bash; do
        loader=$(patchelf --print-interpreter "$(file_of "${item%%:*}")" 2> /dev/null) && return
    done
}
in_root() {
    case $loader in
    *aarch64*) qemu-aarch64-static -L "$root" "$root$loader" --library-path "$root/lib/aarch64-linux-gnu:$root/usr/lib/aarch64-linux-gnu" --list "$root$1" ;;
    *musl*) chroot "$root" "$loader" --list "$1" ;;
    *) chroot "$root" "$loader" --inhibit-cache --list "$1" ;;
    esac
}
find_loader "$@"

# libraries FILE: copies what the loader finds, one line a library: "libz.so.1 => /path (0x…)".
libraries() {
    in_root "$1" | while read -r soname arrow file rest; do
        [ "$arrow" = "=>" ] || continue
        case $soname in */*) continue ;; esac
        [ ! -e "$lib/$soname" ] || continue
        cp "$(file_of "${file#"$root"}")" "$lib/$soname"
        patchelf --set-rpath "$sysroot/lib" "$lib/$soname"
        patchelf --no-default-lib "$lib/$soname"
    done
}

for item; do
    path=${item%%:*} to=${item#*:}
    mkdir -p "$work${to%/*}"
    if [ -d "$root$path" ]; then
        cp -a "$root$path" "$work$to"
        find "$work$to" -name '*.so' -type f | while read -r file; do
            libraries "$path${file#"$work$to"}"
            patchelf --set-rpath "$sysroot/lib" "$file"
        done
        continue
    fi
    case $to in /bin/*) to=/usr$to; mkdir -p "$work${to%/*}" ;; esac
    cp "$(file_of "$path")" "$work$to"
    patchelf --print-interpreter "$work$to" > /dev/null 2>&1 || continue
    libraries "$path"
    [ -e "$lib/${loader##*/}" ] || cp "$(file_of "$loader")" "$lib/${loader##*/}"
    patchelf --set-interpreter "$sysroot/lib/${loader##*/}" "$work$to"
    patchelf --set-rpath "$sysroot/lib" "$work$to"
    patchelf --no-default-lib "$work$to"
done
mksquashfs "$work" "$out" -quiet -no-progress -all-root -noappend
rm -r "$work"
