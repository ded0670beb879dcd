# The texts shown before a login, each line with its file in front.
for file in /etc/issue /etc/issue.net; do
    [ ! -e "$file" ] || head -c 4096 "$file" | sed "s|^|$file:|; \$a\\" || exit
done
exit 0
