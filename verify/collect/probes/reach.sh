# shellcheck disable=SC2154 # its variables are set in front of it, see server.go
# TCP connects to $target on $ports, all at once: port and exit status a line;
# 124 is timeout's own.
for port in $ports; do
    (
        # shellcheck disable=SC2016 # bash expands it
        timeout 1 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$target" "$port" 2>/dev/null
        echo "$port $?"
    ) &
done
wait
