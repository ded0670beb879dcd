# shellcheck disable=SC2154 # its variables are set in front of it, see server.go
# The effective settings for the deploy user, Match blocks included.
sshd -T -C "user=$deploy_user,host=x,addr=198.51.100.1"
