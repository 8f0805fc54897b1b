# Sourced in a machine with images in /run/images: a daemon is merged, asked, restarted, replaced by another version, unmerged.
mkdir -p /etc/extensions
version=$(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')
merge() {
    systemd-sysext refresh
    # Older ones don't know that an extension brings units.
    [ "$version" -ge 255 ] || systemctl daemon-reload
}
# Why a unit isn't what it should be.
explain() {
    systemctl --failed --no-legend --plain
    [ $# -eq 0 ] || systemctl --no-pager --full status "$@" 2>&1 || true
    journalctl --no-pager -o cat -n 60
    exit 1
}
# What is being started may take its time; what fails is started again and again.
wait_for() {
    n=0
    failures=0
    while :; do
        case $(systemctl show --property=ActiveState,SubState "$1") in
        *ActiveState=active*) break ;;
        *failed* | *auto-restart*) failures=$((failures + 1)) ;;
        esac
        n=$((n + 1))
        [ $n -lt 240 ] && [ $failures -lt 8 ] || explain "$1"
        # To ask takes an emulated processor half a second, which what is being started has to wait for.
        sleep 1
    done
}
# Port, question, bytes of the answer.
talk() { bash -c 'exec 3<>/dev/tcp/127.0.0.1/$1 || exit; printf "$2" >&3; timeout 20 head -c "$3" <&3' talk "$@" && echo; }
# The same over UDP, with all of the answer.
ask_port() { perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Proto => "udp", PeerAddr => "127.0.0.1:$ARGV[0]") or die "$!\n"; ($q = $ARGV[1]) =~ s/\\x(..)/chr hex $1/ge; $s->send($q); alarm 20; $s->recv($r, 2000); print $r' "$@"; }
# Socket, question: all of the answer.
ask_socket() { perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ARGV[0]) or die "$!\n"; print $s "$ARGV[1]\n"; print while <$s>' "$@"; }
# A command, and part of its answer. What isn't answered yet is asked again: some are active before they listen.
answer() {
    n=0
    while :; do
        said=$(eval "$1" 2>&1 || true)
        case $said in *"$2"*) break ;; esac
        n=$((n + 1))
        [ $n -lt 100 ] || { echo "$1: $said"; explain; }
        sleep 0.2
    done
    echo "$said"
}
# Name, unit. What is only stopped is started again, since it is upheld.
stop_for_good() {
    for drop_in in /usr/lib/systemd/system/*.target.d/10-$1-*.conf; do
        hidden=/run/${drop_in#/usr/lib/}
        mkdir -p "${hidden%/*}"
        ln -s /dev/null "$hidden"
    done
    systemctl daemon-reload
    # Its sockets, too, which would start it.
    systemctl stop $(systemctl show --value --property=TriggeredBy $2) $2
}
# Name, unit, user, question, part of the answer, whether it is stopped before it is unmerged.
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
    echo "$1: version $(stat -c %Y /usr/lib/extension-release.d/extension-release.$1)"
    wait_for $2
    systemctl restart $2
    answer "$4" "$5"
    [ -z "${6-}" ] || stop_for_good $1 $2
    rm /etc/extensions/$1.raw
    merge
    rm -rf /run/systemd/system/*.target.d
    systemctl daemon-reload
    # One that has stopped is unknown now.
    [ -n "${6-}" ] || systemctl stop $2
    echo "$1: $(systemctl is-active $2 || true), failed: $(systemctl --failed --no-legend --plain | wc -l)"
    [ -z "$(systemctl --failed --no-legend)" ] || explain $(systemctl --failed --no-legend --plain | cut -d ' ' -f 1)
}
# After a daemon that may have failed: nothing of it is in the way of the next.
clear_away() {
    systemctl stop $2
    rm -f /etc/extensions/$1.raw
    systemd-sysext refresh
    systemctl daemon-reload
    systemctl stop $2
    systemctl reset-failed
} >/dev/null 2>&1
