#!/bin/sh
# The peer of the warm benchmark: what a shell script has to do for the same image, with patchelf, cp and mksquashfs.
# usage: flix-steps.sh ROOT NAME OUT PATH…    (ROOT is an unpacked root file system of this machine's architecture)
set -eu
root=$1 name=$2 out=$3
shift 3
work=$out.d
sysroot=/usr/lib/flix/$name
lib=$work$sysroot/lib
mkdir -p "$lib" "$work/usr/bin" "$work/usr/lib/systemd/system" "$work/usr/lib/extension-release.d"
printf 'ID=_any\n' > "$work/usr/lib/extension-release.d/extension-release.$name"

dirs=$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu:$root/lib:$root/usr/lib
loader=$root/lib64/ld-linux-x86-64.so.2
for path; do
    case $path in
    *.service) cp "$root$path" "$work/usr/lib/systemd/system/"; continue ;;
    esac
    program=$work/usr/bin/${path##*/}
    cp "$root$path" "$program"
    # One line a library: "libz.so.1 => /path (0x…)".
    "$loader" --inhibit-cache --library-path "$dirs" --list "$program" | while read -r soname arrow file rest; do
        case $soname in */*) continue ;; esac
        [ "$arrow" = "=>" ] || continue
        [ -e "$lib/$soname" ] && continue
        cp -L "$file" "$lib/$soname"
        patchelf --set-rpath "$sysroot/lib" "$lib/$soname"
        patchelf --no-default-lib "$lib/$soname"
    done
    [ -e "$lib/ld-linux-x86-64.so.2" ] || cp -L "$loader" "$lib/ld-linux-x86-64.so.2"
    patchelf --set-interpreter "$sysroot/lib/ld-linux-x86-64.so.2" "$program"
    patchelf --set-rpath "$sysroot/lib" "$program"
    patchelf --no-default-lib "$program"
done
mksquashfs "$work" "$out" -quiet -no-progress -all-root -noappend
rm -r "$work"
