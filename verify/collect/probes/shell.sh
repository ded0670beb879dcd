# shellcheck disable=SC2154 # its variables are set in front of it, see server.go
# What the deploy user's login shell starts with. The user's own profile is run
# as that user, not as root; what else it prints is passed over.
group=$(id -g "$deploy_user") || exit
# shellcheck disable=SC2016 # the login shell expands it
timeout 3 setpriv --reuid "$deploy_user" --regid "$group" --init-groups --reset-env \
    sh -lc 'printf "\nholdfast-shell %s %s\n" "$(umask)" "${TMOUT:-0}"' </dev/null 2>/dev/null | grep '^holdfast-shell '
