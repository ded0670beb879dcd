# shellcheck disable=SC2154 # its variables are set in front of it, see server.go
# TCP connects to each of $targets on each of $ports, all at once: address, port
# and exit status a line; 124 is timeout's own.
for target in $targets; do
    for port in $ports; do
        (
            # shellcheck disable=SC2016 # bash expands it
            timeout 1 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$target" "$port" 2>/dev/null
            echo "$target $port $?"
        ) &
    done
done
wait
