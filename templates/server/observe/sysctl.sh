# The live values of $keys, with "/" for "."; a key this kernel lacks is left out.
cd /proc/sys || exit
# shellcheck disable=SC2154 # a list of keys
for key in $keys; do
    if [ -r "$key" ] && IFS= read -r value <"$key"; then
        printf '%s=%s\n' "$key" "$value"
    fi
done
exit 0
