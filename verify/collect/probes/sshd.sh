# shellcheck disable=SC2154 # its variables are set in front of it, see server.go
# The effective settings for the deploy user, Match blocks included; all that one
# may ask for is said, or sshd gives no answer.
sshd -T -C "user=$deploy_user,host=x,addr=198.51.100.1,laddr=198.51.100.2,lport=22"
