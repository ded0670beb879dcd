# shellcheck disable=SC2154 # its variables are set in front of it, see server.go
# What Holdfast keeps on the server. $published_secrets holds one value a line.
cd /opt/holdfast 2>/dev/null || exit 0
current=$(readlink current) || exit 0
printf 'current %s\n' "${current##*/}"
find -H current -type f -path '*/secrets/*' -printf 'secret %m %u %g %p\n'
find -H current ! -type l -perm /022 -printf 'open %m %u %g %p\n'
find -H current -type f -path '*/secrets/*' -exec grep -lF -e "$published_secrets" {} + | sed 's/^/published /'
exit 0
