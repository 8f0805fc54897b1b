//! The script that units with a user start: makes the private root as root, and becomes the user last.

/// Runs a program for a unit: `unit USER GROUP GROUPS PROGRAM ARGUMENT…`.
pub(super) fn script(enter: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Made by flatwrap. Becomes the user of a unit in the private root: USER GROUP GROUPS PROGRAM ARGUMENT...\n\
         _flatwrap_user=$1 _flatwrap_group=$2 _flatwrap_groups=$3\n\
         shift 3\n\
         # shellcheck source=/dev/null\n\
         . \"${{FLATWRAP_ROOT-}}\"{enter}\n"
    )
}

/// What `enter` does for that script as root.
pub(super) const BECOME: &str = r#"  case $0 in
  */.flatwrap/unit)
    [ "${USER-$_flatwrap_user}" = "$_flatwrap_user" ] ||
      _flatwrap_refused "the unit has User=$USER, and its commands name $_flatwrap_user: change both"
    { _flatwrap_uid=$(id -u "$_flatwrap_user") && _flatwrap_gid=$(id -g "$_flatwrap_user") &&
      _flatwrap_list=$(id -G "$_flatwrap_user"); } || _flatwrap_refused "no user $_flatwrap_user"
    _flatwrap_find() {
      while IFS=: read -r _flatwrap_key _ _flatwrap_id _; do
        [ "$_flatwrap_key" = "$1" ] && return
      done </etc/group
      _flatwrap_key=$(getent group "$1") || _flatwrap_refused "no group $1"
      _flatwrap_id=${_flatwrap_key#*:*:}
      _flatwrap_id=${_flatwrap_id%%:*}
    }
    [ "${_flatwrap_group--}" = - ] || {
      # The user's own group isn't one of the service's then.
      _flatwrap_list=${_flatwrap_list#"$_flatwrap_gid"}
      _flatwrap_find "$_flatwrap_group"
      _flatwrap_gid=$_flatwrap_id _flatwrap_list="$_flatwrap_id $_flatwrap_list"
    }
    [ "$_flatwrap_groups" != - ] || _flatwrap_groups=''
    while [ -n "$_flatwrap_groups" ]; do
      _flatwrap_find "${_flatwrap_groups%%,*}"
      _flatwrap_list="$_flatwrap_list $_flatwrap_id"
      case $_flatwrap_groups in
      *,*) _flatwrap_groups=${_flatwrap_groups#*,} ;;
      *) _flatwrap_groups='' ;;
      esac
    done
    for _flatwrap_key in $_flatwrap_list; do
      _flatwrap_groups=${_flatwrap_groups:+$_flatwrap_groups,}$_flatwrap_key
    done
    _flatwrap_caps='' _flatwrap_bits=0 _flatwrap_id=0
    while read -r _flatwrap_key _flatwrap_list; do
      [ "$_flatwrap_key" = CapAmb: ] && _flatwrap_bits=$((0x$_flatwrap_list))
    done </proc/self/status
    while [ "$_flatwrap_bits" -gt 0 ]; do
      [ $((_flatwrap_bits & 1)) = 0 ] || _flatwrap_caps=${_flatwrap_caps:+$_flatwrap_caps,}+cap_$_flatwrap_id
      _flatwrap_bits=$((_flatwrap_bits >> 1)) _flatwrap_id=$((_flatwrap_id + 1))
    done
    exec "$_flatwrap_unshare" --mount --propagation slave -- "$_flatwrap_dir/.flatwrap/as-unit" \
      "$_flatwrap_uid" "$_flatwrap_gid" "$_flatwrap_groups" "$_flatwrap_caps" "$@"
    ;;
  esac
"#;

/// The end of `as-unit`, which becomes the program, if the image has no setpriv.
pub(super) const INSIDE_WITHOUT_SETPRIV: &str = r#"[ -z "$_flatwrap_caps" ] || {
  echo "${0%%/.flatwrap/*}: no capabilities for its user without setpriv in the image" >&2
  exit 125
}
[ "$_flatwrap_groups" = "$_flatwrap_gid" ] ||
  echo "${0%%/.flatwrap/*}: none of the user's other groups without setpriv in the image" >&2
exec "$_flatwrap_unshare" --root /.. --wd "$_flatwrap_wd" --setgid "$_flatwrap_gid" --setuid "$_flatwrap_uid" -- "$@"
"#;

/// The same with setpriv, which is needed for groups and capabilities.
pub(super) const INSIDE: &str = r#"if [ -z "$_flatwrap_caps" ] && [ "$_flatwrap_groups" = "$_flatwrap_gid" ]; then
  exec "$_flatwrap_unshare" --root /.. --wd "$_flatwrap_wd" --setgid "$_flatwrap_gid" --setuid "$_flatwrap_uid" -- "$@"
fi
exec "$_flatwrap_unshare" --root /.. --wd "$_flatwrap_wd" -- /usr/bin/setpriv --reuid "$_flatwrap_uid" \
  --regid "$_flatwrap_gid" --groups "$_flatwrap_groups" \
  ${_flatwrap_caps:+--inh-caps "$_flatwrap_caps" --ambient-caps "$_flatwrap_caps"} -- "$@"
"#;
