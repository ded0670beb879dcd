[ -e /run/reboot-required ] || exit 0
echo required
cat /run/reboot-required.pkgs 2>/dev/null
exit 0
