# Enabled units that load a ruleset at boot.
systemctl list-unit-files --state=enabled --plain --no-legend --no-pager '*nftables*' '*firewall*' | awk '{print $1}'
