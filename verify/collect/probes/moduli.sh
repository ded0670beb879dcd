# The size of the smallest Diffie-Hellman group: the fifth field of moduli(5) is
# the number of its highest bit.
[ -e /etc/ssh/moduli ] || exit 0
awk '!/^#/ && NF == 7 && (least == "" || $5 < least) { least = $5 } END { if (least != "") print least + 1 }' /etc/ssh/moduli
