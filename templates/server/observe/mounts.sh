# What is mounted at $points, and the swap in use: the last mount of a point is
# the one on top (proc_pid_mountinfo(5)).
# shellcheck disable=SC2154 # a list of paths
awk -v points="$points" '
    BEGIN { n = split(points, list, " "); for (i = 1; i <= n; i++) wanted[list[i]] = 1 }
    $5 in wanted {
        for (i = 7; i <= NF && $i != "-"; i++) ;
        found[$5] = "mount " $5 " " $(i + 1) " " $(i + 2) " " $6
    }
    END { for (point in found) print found[point] }' /proc/self/mountinfo
awk 'NR > 1 { print "swap " $1 " " $3 }' /proc/swaps 2>/dev/null
exit 0
