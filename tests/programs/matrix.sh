#!/bin/bash
# The shell of the matrix: an array, a pipe, a regular expression, a child of another shell, and a signal.
words=(zero one two)
printf '%s\n' "${words[@]:1}" | while read -r word; do echo "word $word"; done
[[ abc =~ b(.) ]] && echo "then ${BASH_REMATCH[1]}"
dash -c 'read -r line; echo "dash $line"' <<< "reads"
trap 'echo trapped' USR1
kill -USR1 $$
