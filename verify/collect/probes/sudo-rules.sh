# sudo skips files in sudoers.d whose names hold a "." or end in "~".
cat /etc/sudoers || exit
find /etc/sudoers.d -maxdepth 1 -type f ! -name '*.*' ! -name '*~' -exec cat {} +
