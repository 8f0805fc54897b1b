# Sourced in a machine: a daemon is merged, asked, restarted, replaced by another version, unmerged.
mkdir -p /etc/extensions /run/images
cp /opt/images/* /run/images/
version=$(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')
merge() {
    systemd-sysext refresh
    # Older ones don't know that an extension brings units.
    [ "$version" -ge 255 ] || systemctl daemon-reload
}
wait_for() {
    n=0
    until systemctl --quiet is-active "$1"; do
        n=$((n + 1))
        [ $n -lt 300 ] || { systemctl --no-pager --full status "$1"; journalctl --no-pager -o cat -n 50; exit 1; }
        sleep 0.2
    done
}
# Port, question, bytes of the answer.
talk() { bash -c 'exec 3<>/dev/tcp/127.0.0.1/$1 || exit; printf "$2" >&3; timeout 20 head -c "$3" <&3' talk "$@" && echo; }
# A command, and part of its answer. What isn't answered yet is asked again: some are active before they listen.
answer() {
    n=0
    while :; do
        said=$(eval "$1" 2>&1 || true)
        case $said in *"$2"*) break ;; esac
        n=$((n + 1))
        [ $n -lt 100 ] || { echo "$1: $said"; exit 1; }
        sleep 0.2
    done
    echo "$said"
}
live() {
    echo "$1: begins"
    ! id "$3" 2>/dev/null || echo "$1: has $3"
    install /run/images/$1.raw /etc/extensions/$1.raw
    merge
    wait_for $2
    echo "$1: active, $(id -un $3)"
    answer "$4" "$5"
    systemctl restart $2
    answer "$4" "$5"
    # Another version.
    rm /etc/extensions/$1.raw
    install /run/images/$1-2.image /etc/extensions/$1.raw
    merge
    wait_for $2
    systemctl restart $2
    answer "$4" "$5"
    rm /etc/extensions/$1.raw
    merge
    systemctl daemon-reload
    systemctl stop $2
    echo "$1: $(systemctl is-active $2 || true), failed: $(systemctl --failed --no-legend --plain | wc -l)"
}
