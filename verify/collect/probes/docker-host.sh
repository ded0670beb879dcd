# The engine's own processes that relay published ports in user space (a
# container may well run a program of that name), SSH servers in containers (in
# a process namespace of their own), its socket and its files.
printf 'proxies %s\n' "$(pgrep -c -P "$(pgrep -o -x dockerd || echo 0)" -x docker-proxy)"
own=$(readlink /proc/1/ns/pid) || exit
for process in $(pgrep -x sshd); do
    there=$(readlink "/proc/$process/ns/pid") || continue
    [ "$there" = "$own" ] || echo sshd
done
stat -L -c 'socket %a %U %G' /run/docker.sock 2>/dev/null
for file in /etc/docker /etc/docker/daemon.json /etc/docker/certs.d/*/* /etc/default/docker \
    /usr/lib/systemd/system/docker.service /usr/lib/systemd/system/docker.socket \
    /etc/systemd/system/docker.service /etc/systemd/system/docker.socket /run/containerd/containerd.sock; do
    [ ! -e "$file" ] || stat -L -c 'file %a %U %G %n' "$file"
done
exit 0
