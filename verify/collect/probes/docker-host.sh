# The processes that relay published ports in user space, and the socket.
pgrep -xc docker-proxy
stat -L -c '%a %U %G' /run/docker.sock 2>/dev/null
exit 0
