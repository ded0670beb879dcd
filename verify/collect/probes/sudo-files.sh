stat -c '%a %U %G %n' /etc/sudoers || exit
find /etc/sudoers.d -maxdepth 1 -type f ! -name README -exec stat -c '%a %U %G %n' {} +
