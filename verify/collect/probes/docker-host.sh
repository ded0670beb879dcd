# The engine's own processes that relay published ports in user space (a
# container may well run a program of that name), and the socket.
pgrep -c -P "$(pgrep -o -x dockerd || echo 0)" -x docker-proxy
stat -L -c '%a %U %G' /run/docker.sock 2>/dev/null
exit 0
